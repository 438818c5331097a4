#define _GNU_SOURCE
#include "core.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct op {
    struct op *next;
    uint64_t serial;
    enum { COPY, KERNEL, RECORD, HOLD, MEET } what;
    void *target;
    const void *source;
    size_t size;
    struct event *event;
    struct stream *until;      /* HOLD: this queue has to come to `at` first */
    uint64_t at;
    const struct entry *entry;
    unsigned groups;
    double cost;
    struct meeting *meeting;
    int rank;
    unsigned char arguments[1024] __attribute__((aligned(64)));
};
struct block { struct block *next; void *address; int64_t size; int device, host; };
struct scripted { struct scripted *next; char call[64]; int after, code; };

struct device devices[MOST_DEVICES];
int device_count = 2, driver_version = 13000;
_Thread_local int current = NO_DEVICE;

static struct block *blocks;
static struct stream *streams;
static struct event *events;
static struct module *modules;
static struct function *functions;
static struct scripted *script;
static char kernels[4096];
static int violations;

/* What the tests call. */

void mock_reset(int count, int64_t budget) {
    while (script) { struct scripted *s = script; script = s->next; free(s); }
    for (struct stream *s = streams; s; s = s->next) s->live = 0;
    for (struct event *e = events; e; e = e->next) e->live = 0;
    for (struct module *m = modules; m; m = m->next) m->live = 0;
    while (blocks) { struct block *b = blocks; blocks = b->next; free(b->address); free(b); }
    memset(devices, 0, sizeof devices);
    for (int i = 0; i < MOST_DEVICES; i++) {
        devices[i].kernels_left = -1;
        devices[i].major = 8; devices[i].minor = 9; devices[i].units = 4 + i; devices[i].budget = budget;
        for (int j = 0; j < MOST_DEVICES; j++) devices[i].reach[j] = i != j;
    }
    device_count = count;
    driver_version = 13000;
    violations = 0;
    current = NO_DEVICE;
}
void mock_version(int version) { driver_version = version; }
void mock_arch(int device, int major, int minor) { devices[device].major = major; devices[device].minor = minor; }
void mock_integrated(int device) { devices[device].integrated = 1; }
void mock_vanish(int device) { devices[device].gone = 1; }
void mock_unreachable(int a, int b) { devices[a].reach[b] = devices[b].reach[a] = 0; }
void mock_kernels(const char *path) { snprintf(kernels, sizeof kernels, "%s", path); }
int mock_violations(void) { return violations; }
/* After `after` more calls of the function, the next one gives the code. Kernels that run are `kernel`. */
void mock_fault(const char *call, int after, int code) {
    struct scripted *s = calloc(1, sizeof *s);
    snprintf(s->call, sizeof s->call, "%s", call);
    s->after = after; s->code = code; s->next = script; script = s;
}
int mock_live(const char *what) {
    int count = 0;
    if (!strcmp(what, "memory") || !strcmp(what, "host")) {
        for (struct block *b = blocks; b; b = b->next) count += b->host == !strcmp(what, "host");
    } else if (!strcmp(what, "streams")) {
        for (struct stream *s = streams; s; s = s->next) count += s->live;
    } else if (!strcmp(what, "events")) {
        for (struct event *e = events; e; e = e->next) count += e->live;
    } else if (!strcmp(what, "modules")) {
        for (struct module *m = modules; m; m = m->next) count += m->live;
    } else {
        for (int i = 0; i < MOST_DEVICES; i++) count += devices[i].retained;
    }
    return count;
}
__attribute__((constructor)) static void begin(void) {
    const char *count = getenv("MOCK_DEVICES"), *budget = getenv("MOCK_BUDGET"), *faults = getenv("MOCK_FAULTS");
    const char *vanish = getenv("MOCK_VANISH"), *library = getenv("MOCK_KERNELS");
    char call[64];
    int after, code, used, device;
    mock_reset(count ? atoi(count) : 2, budget ? atoll(budget) : 64 << 20);
    for (; faults && sscanf(faults, "%63[^:]:%d:%d%n", call, &after, &code, &used) == 3; faults++) {
        mock_fault(call, after, code);
        faults += used;
        if (*faults != ',') break;
    }
    if (vanish && sscanf(vanish, "%d:%d", &device, &after) == 2) devices[device].kernels_left = after;
    if (library) mock_kernels(library);
}

int fault(const char *call) {
    for (struct scripted **at = &script; *at; at = &(*at)->next)
        if (!strcmp((*at)->call, call) && (*at)->after-- == 0) {
            struct scripted *s = *at;
            int code = s->code;
            *at = s->next;
            free(s);
            return code;
        }
    return OK;
}

/* The codes after which CUDA's reference says that the process must end. */
static int lasts(int code) {
    return code == 214 || code == 220 || code == 226 || code == 700 || code == 702 || code == 710
        || (code >= 714 && code <= 719) || code == UNKNOWN;
}

int state(void) {
    if (current == NO_DEVICE) return INVALID_CONTEXT;
    if (devices[current].gone) return UNKNOWN;
    return devices[current].sticky;
}

/* Memory. */

static struct block *block_of(const void *address, size_t size) {
    for (struct block *b = blocks; b; b = b->next)
        if ((const char *)address >= (char *)b->address && (const char *)address + size <= (char *)b->address + b->size)
            return b;
    return NULL;
}

int take(int64_t size, void **address, int host) {
    struct block *b;
    if (size <= 0) return INVALID_VALUE;
    if (!host && devices[current].used + size > devices[current].budget) return OUT_OF_MEMORY;
    b = calloc(1, sizeof *b);
    b->address = aligned_alloc(512, (size + 511) / 512 * 512);
    memset(b->address, 0xa5, size);
    b->size = size; b->device = current; b->host = host; b->next = blocks; blocks = b;
    if (!host) devices[current].used += size;
    *address = b->address;
    return OK;
}

int give(void *address, int host) {
    for (struct block **at = &blocks; *at; at = &(*at)->next)
        if ((*at)->address == address && (*at)->host == host) {
            struct block *b = *at;
            if (!host) devices[b->device].used -= b->size;
            *at = b->next;
            free(b->address);
            free(b);
            return OK;
        }
    violations++;
    return INVALID_VALUE;
}

/* Queues. */

struct stream *new_stream(void) {
    struct stream *s = calloc(1, sizeof *s);
    s->device = current; s->live = 1; s->next = streams; streams = s;
    return s;
}
struct event *new_event(void) {
    struct event *e = calloc(1, sizeof *e);
    e->device = current; e->live = 1; e->next = events; events = e;
    return e;
}
static int live_stream(struct stream *s) {
    for (struct stream *at = streams; at; at = at->next) if (at == s) return s->live;
    return 0;
}
static int live_event(struct event *e) {
    for (struct event *at = events; at; at = at->next) if (at == e) return e->live;
    return 0;
}

static struct op *put(struct stream *s) {
    struct op *op = aligned_alloc(64, (sizeof *op + 63) / 64 * 64);
    memset(op, 0, sizeof *op);
    op->serial = ++s->put;
    if (s->last) s->last->next = op; else s->first = op;
    s->last = op;
    return op;
}

/* A kernel on a device reads through its own memory, pinned memory, and that of devices it was given access to. */
static int reaches(int device, const void *address) {
    struct block *b = block_of(address, 1);
    return b && (b->host || b->device == device || devices[device].peers[b->device]);
}

static int run_kernel(int device, struct op *op) {
    int code = fault("kernel");
    if (code) return code;
    for (int i = 0; op->entry->kinds[i]; i++)
        if (op->entry->kinds[i] == 'b' && !reaches(device, *(void **)(op->arguments + op->entry->offsets[i])))
            return ILLEGAL_ADDRESS;
    op->entry->run(op->groups, op->arguments);
    if (devices[device].kernels_left > 0 && !--devices[device].kernels_left) devices[device].gone = 1;
    return OK;
}

static void run_until(struct stream *s, uint64_t serial);

/* All queues come to the meeting, and it begins when the last of them is there. */
static void meet(struct meeting *m) {
    if (m->met) return;
    for (int i = 0; i < m->count; i++) run_until(m->queues[i], m->at[i] - 1);
    for (int i = 0; i < m->count; i++) if (m->queues[i]->seconds > m->seconds) m->seconds = m->queues[i]->seconds;
    m->met = 1;
    m->all(m);
}

static void run_until(struct stream *s, uint64_t serial) {
    while (s->first && s->done < serial) {
        struct op *op = s->first;
        struct device *device = &devices[s->device];
        if (op->what == HOLD) {
            struct event *e = op->event;
            run_until(op->until, op->at);
            if (e->seconds > s->seconds) s->seconds = e->seconds;
        }
        if (op->what == MEET) {
            meet(op->meeting);
            if (op->meeting->seconds > s->seconds) s->seconds = op->meeting->seconds;
        }
        s->first = op->next;
        if (!s->first) s->last = NULL;
        s->done = op->serial;
        if (!device->gone && !device->sticky) {
            if (op->what == COPY) {
                if (op->size && block_of(op->target, 1) == NULL && block_of(op->source, 1) == NULL) violations++;
                memmove(op->target, op->source, op->size);
            } else if (op->what == KERNEL) {
                device->sticky = run_kernel(s->device, op);
            } else if (op->what == MEET) {
                op->meeting->each(op->meeting, op->rank);
            }
        }
        s->seconds += op->cost;
        if (op->what == RECORD) op->event->seconds = s->seconds;
        free(op);
    }
}

int drop_stream(struct stream *s) {
    if (!live_stream(s)) { violations++; return INVALID_HANDLE; }
    run_until(s, s->put);
    s->live = 0;
    return OK;
}
int drop_event(struct event *e) {
    if (!live_event(e)) { violations++; return INVALID_HANDLE; }
    e->live = 0;
    return OK;
}
static int usable(struct stream *s) { return live_stream(s) && s->device == current; }

int record(struct event *e, struct stream *s) {
    struct op *op;
    if (!live_event(e) || !usable(s) || e->device != s->device) return INVALID_HANDLE;
    op = put(s);
    op->what = RECORD; op->event = e;
    e->in = s; e->at = op->serial;
    return OK;
}
int hold(struct stream *s, struct event *e) {
    struct op *op;
    if (!live_event(e) || !usable(s)) return INVALID_HANDLE;
    if (!e->in) return OK;
    op = put(s);
    op->what = HOLD; op->event = e; op->until = e->in; op->at = e->at;
    return OK;
}
int wait_event(struct event *e) {
    if (!live_event(e)) return INVALID_HANDLE;
    if (e->in) run_until(e->in, e->at);
    return state();
}
int elapsed(struct event *a, struct event *b, float *milliseconds) {
    if (!live_event(a) || !live_event(b) || !a->in || !b->in) return INVALID_HANDLE;
    if (a->in->done < a->at || b->in->done < b->at) return NOT_READY;
    *milliseconds = (float)((b->seconds - a->seconds) * 1000.0);
    return OK;
}
int wait_stream(struct stream *s) {
    if (!usable(s)) return INVALID_HANDLE;
    run_until(s, s->put);
    return state();
}
int wait_device(void) {
    for (struct stream *s = streams; s; s = s->next)
        if (s->live && s->device == current) run_until(s, s->put);
    return state();
}

static int within(const void *address, size_t size, int device) {
    struct block *b = block_of(address, size);
    return b && !b->host && b->device == device;
}
int mock_within(const void *address, size_t size, int device) { return within(address, size, device); }

int mock_meet(struct meeting *m, const int *on, double cost) {
    for (int i = 0; i < m->count; i++)
        if (!live_stream(m->queues[i]) || m->queues[i]->device != on[i]) { violations++; return INVALID_HANDLE; }
    for (int i = 0; i < m->count; i++) {
        struct op *op = put(m->queues[i]);
        op->what = MEET; op->meeting = m; op->rank = i; op->cost = cost;
        m->at[i] = op->serial;
    }
    return OK;
}

int queue_copy(struct stream *s, void *target, int to, const void *source, int of, size_t size) {
    struct op *op;
    if (!usable(s)) return INVALID_HANDLE;
    if ((to != NO_DEVICE && !within(target, size, to)) || (of != NO_DEVICE && !within(source, size, of))) {
        violations++;
        return INVALID_VALUE;
    }
    op = put(s);
    op->what = COPY; op->target = target; op->source = source; op->size = size;
    op->cost = (double)size * 1e-9; /* a gigabyte a second */
    return OK;
}

/* Kernels. */

/* Whether the code holds every kernel of the library, by name. */
static int fits(const struct entry *e, const void *code, size_t size) {
    for (; e->name; e++) if (!memmem(code, size, e->name, strlen(e->name))) return 0;
    return 1;
}

static void *library_for(const void *code, size_t size) {
    DIR *folder = opendir(kernels);
    void *found = NULL;
    if (!folder) return dlopen(kernels, RTLD_NOW | RTLD_LOCAL);
    for (struct dirent *at; !found && (at = readdir(folder));) {
        char path[sizeof kernels + 300];
        size_t length = strlen(at->d_name);
        if (length < 4 || strcmp(at->d_name + length - 3, ".so")) continue;
        snprintf(path, sizeof path, "%s/%s", kernels, at->d_name);
        found = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (found && (!dlsym(found, "mock_entries") || !fits(dlsym(found, "mock_entries"), code, size))) {
            dlclose(found);
            found = NULL;
        }
    }
    closedir(folder);
    return found;
}

int load(const void *code, size_t size, struct module **module) {
    struct module *m = calloc(1, sizeof *m);
    m->library = library_for(code, size ? size : strlen(code));
    if (!m->library) { fprintf(stderr, "mock: no host kernels in %s\n", kernels); free(m); return INVALID_IMAGE; }
    m->entries = dlsym(m->library, "mock_entries");
    m->code = code; m->device = current; m->live = 1; m->next = modules; modules = m;
    *module = m;
    return OK;
}
int unload(struct module *m) {
    if (!m->live) { violations++; return INVALID_HANDLE; }
    m->live = 0;
    return OK;
}
int find(struct module *m, const char *name, struct function **function) {
    for (const struct entry *e = m->entries; e->name; e++)
        if (!strcmp(e->name, name)) {
            struct function *f = calloc(1, sizeof *f);
            f->of = m; f->entry = e; f->next = functions; functions = f;
            *function = f;
            return OK;
        }
    return NOT_FOUND;
}

static size_t size_of(char kind) { return kind == 'm' ? 128 : kind == 'b' || kind == 'q' ? 8 : 4; }

int queue_kernel(struct function *f, unsigned groups, unsigned group, struct stream *s, void **pointers, void *packed,
    size_t packed_size) {
    const struct entry *e = f->entry;
    struct op *op;
    size_t last = 0;
    int i;
    if (!usable(s) || f->of->device != current || !f->of->live) return INVALID_HANDLE;
    if (!groups || group != 256) return INVALID_VALUE;
    op = put(s);
    op->what = KERNEL; op->entry = e; op->groups = groups; op->cost = 1e-3;
    for (i = 0; e->kinds[i]; i++) {
        size_t size = size_of(e->kinds[i]);
        if (pointers) {
            if (e->kinds[i] == 'm' && (uintptr_t)pointers[i] % 64) { violations++; return INVALID_VALUE; }
            memcpy(op->arguments + e->offsets[i], pointers[i], size);
        }
        last = e->offsets[i] + size;
    }
    if (packed) {
        if (packed_size < last || packed_size > e->size) { violations++; return INVALID_VALUE; }
        memcpy(op->arguments, packed, packed_size);
    }
    return OK;
}

int allow_peer(int other) {
    if (!devices[current].reach[other]) return PEER_UNSUPPORTED;
    if (devices[current].peers[other]) return PEER_ALREADY;
    devices[current].peers[other] = 1;
    return OK;
}

/* What goes with a context: its memory, queues, events and modules. */
void forget_device(int device) {
    for (struct block **at = &blocks; *at;) {
        struct block *b = *at;
        if (b->device == device) { *at = b->next; free(b->address); free(b); } else at = &b->next;
    }
    for (struct stream *s = streams; s; s = s->next) if (s->device == device) s->live = 0;
    for (struct event *e = events; e; e = e->next) if (e->device == device) e->live = 0;
    for (struct module *m = modules; m; m = m->next) if (m->device == device) m->live = 0;
    devices[device].used = devices[device].sticky = 0;
    memset(devices[device].peers, 0, sizeof devices[device].peers);
}

int mock_lasts(int code) { return lasts(code); }
