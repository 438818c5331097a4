/* libnccl.so.2 of paper, and librccl.so.1: the functions that boxcheck calls, numbers as in nccl.h of NCCL 2.32.3. Over a
 * mock driver (tests/gpu/mock) a collective stands in the queues of all its ranks and begins when all have come to it; over
 * a device of the host's memory (host_gpu.py) it is done when its group ends.
 *
 * A test pulls its strings by mock_script(what, value):
 *   status   what every collective answers from now on
 *   create   what ncclCommInitAll answers; -1: it ends the process
 *   wrong    one word of the last rank's result is one too large in each collective
 *   once     the same in the collective of this number, counted from 0
 *   drop     a rank's result is not written, in each collective
 *   hang     a collective of this number does not end until it is aborted
 *   sleep_us how long a collective takes more
 *   version  what ncclGetVersion tells
 * mock_count gives how many: collectives, ranks that live, aborted ones, misuses. */
#include "../mock/core.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef REDUCE_SCATTER
#define REDUCE_SCATTER ncclReduceScatter
#endif

enum { SUCCESS = 0, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, UINT32 = 3, SUM = 0 };
enum kind { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER_ };
struct comm { int rank, ranks, device, live; volatile int stop; };
struct call { const void *send; void *out; size_t words; enum kind kind; struct comm *comm; void *stream; };
struct collective { struct call calls[MOST_DEVICES]; uint32_t *results[MOST_DEVICES]; int number, aborted; };

static struct { int status, create, wrong, once, drop, hang, sleep_us, version; } script = {
    .once = -1, .drop = -1, .hang = -1, .version = 23203};
static struct { int collectives, ranks, aborted, misuses; } counts;
static __thread int depth;
static __thread struct call group[MOST_DEVICES];
static __thread int grouped, refused;
static int (*driver_meet)(struct meeting *, const int *, double);
static int (*driver_within)(const void *, size_t, int);

void mock_script(const char *what, int value) {
#define STRING(name) if (!strcmp(what, #name)) script.name = value
    STRING(status); STRING(create); STRING(wrong); STRING(once); STRING(drop); STRING(hang); STRING(sleep_us);
    STRING(version);
}
int mock_count(const char *what) {
    if (!strcmp(what, "collectives")) return counts.collectives;
    if (!strcmp(what, "ranks")) return counts.ranks;
    if (!strcmp(what, "aborted")) return counts.aborted;
    return counts.misuses;
}

static int misused(int status) { counts.misuses++; return status; }
static void rest(int microseconds) {
    struct timespec span = {microseconds / 1000000, 1000L * (microseconds % 1000000)};
    if (microseconds > 0) nanosleep(&span, NULL);
}
static void find_driver(void) {
    static const char *names[] = {"libcuda.so.1", "libamdhip64.so"};
    for (int i = 0; i < 2 && !driver_meet; i++) {
        void *driver = dlopen(names[i], RTLD_NOW | RTLD_NOLOAD);
        if (!driver || !dlsym(driver, "mock_meet")) continue;
        driver_within = (int (*)(const void *, size_t, int))dlsym(driver, "mock_within");
        driver_meet = (int (*)(struct meeting *, const int *, double))dlsym(driver, "mock_meet");
    }
}

int ncclGetVersion(int *version) { *version = script.version; return SUCCESS; }
const char *ncclGetErrorString(int status) { return status == 1 ? "unhandled cuda error" : "some error"; }
#ifndef OLD
const char *ncclGetLastError(void *comm) { (void)comm; return script.create ? "Cuda failure 'mock'" : ""; }
#endif

int ncclCommInitAll(struct comm **out, int ranks, const int *devices) {
    const char *way = getenv("NCCL_SOCKET_IFNAME");
    if (script.create == -1) abort();
    if (script.create) return script.create;
    if (ranks < 1 || ranks > MOST_DEVICES || depth) return misused(INVALID_ARGUMENT);
    if (!way || strcmp(way, "=lo") || getenv("NCCL_COMM_ID") || getenv("NCCL_DEBUG_FILE")) return misused(INVALID_USAGE);
    find_driver();
    for (int i = 0; i < ranks; i++) {
        for (int j = 0; j < i; j++) if (devices[i] == devices[j]) return misused(INVALID_USAGE);
        out[i] = calloc(1, sizeof *out[i]);
        *out[i] = (struct comm){.rank = i, .ranks = ranks, .device = devices[i], .live = 1};
        counts.ranks++;
    }
    return SUCCESS;
}
int ncclCommDestroy(struct comm *comm) {
    if (!comm || !comm->live) return misused(INVALID_ARGUMENT);
    comm->live = 0;
    counts.ranks--;
    return SUCCESS;
}
int ncclCommAbort(struct comm *comm) {
    if (!comm || !comm->live) return misused(INVALID_ARGUMENT);
    comm->stop = 1;
    counts.aborted++;
    return ncclCommDestroy(comm);
}

/* Every result, from the data as it is now that all ranks are here. */
static void compute(struct collective *c) {
    int ranks = c->calls[0].comm->ranks, last = ranks - 1;
    size_t words = c->calls[0].words;
    if (script.hang == c->number)
        for (int i = 0; i < 30000 && !c->calls[last].comm->stop; i++) rest(1000);
    c->aborted = c->calls[last].comm->stop;
    for (int r = 0; r < ranks; r++) {
        enum kind kind = c->calls[0].kind;
        size_t size = kind == ALL_GATHER ? words * (size_t)ranks : words;
        size_t first = kind == REDUCE_SCATTER_ ? words * (size_t)r : 0;
        uint32_t *out = c->results[r] = calloc(size, 4);
        for (int of = 0; of < ranks; of++) {
            const uint32_t *in = c->calls[of].send;
            if (kind == ALL_GATHER) memcpy(out + words * (size_t)of, in, 4 * words);
            else for (size_t i = 0; i < size; i++) out[i] += in[first + i];
        }
        if (r == last && (script.wrong || script.once == c->number)) out[5] += 1;
    }
}
static void put(struct collective *c, int r) {
    const struct call *call = &c->calls[r];
    size_t size = call->kind == ALL_GATHER ? call->words * (size_t)call->comm->ranks : call->words;
    if (!c->aborted && script.drop != r) memcpy(call->out, c->results[r], 4 * size);
    free(c->results[r]);
}
static void meet_all(struct meeting *m) { compute(m->given); }
static void meet_each(struct meeting *m, int rank) { put(m->given, rank); }

static int run(void) {
    struct collective *c = calloc(1, sizeof *c);
    struct meeting *m = calloc(1, sizeof *m);
    int ranks = group[0].comm->ranks, on[MOST_DEVICES];
    if (grouped != ranks) return misused(INVALID_USAGE); /* a real one would hang */
    for (int i = 0; i < ranks; i++) {
        struct call *call = &group[i];
        size_t times = (size_t)ranks, in = call->kind == REDUCE_SCATTER_ ? times : 1;
        size_t out = call->kind == ALL_GATHER ? times : 1;
        if (call->kind != group[0].kind || call->words != group[0].words || call->comm->rank != i)
            return misused(INVALID_USAGE);
        on[i] = call->comm->device;
        m->queues[i] = call->stream;
        if (driver_within && !(driver_within(call->send, 4 * in * call->words, on[i])
                && driver_within(call->out, 4 * out * call->words, on[i]))) return misused(INVALID_ARGUMENT);
    }
    memcpy(c->calls, group, sizeof group);
    c->number = counts.collectives++;
    if (driver_meet) {
        m->count = ranks; m->all = meet_all; m->each = meet_each; m->given = c;
        double seconds = (double)(4 * group[0].words) * 2e-9 + script.sleep_us * 1e-6;
        return driver_meet(m, on, seconds) ? misused(INVALID_ARGUMENT) : SUCCESS;
    }
    rest(script.sleep_us);
    compute(c);
    for (int r = 0; r < ranks; r++) put(c, r);
    return SUCCESS;
}

int ncclGroupStart(void) { if (!depth++) grouped = refused = 0; return SUCCESS; }
int ncclGroupEnd(void) {
    if (!depth) return misused(INVALID_USAGE);
    if (--depth || !grouped) return SUCCESS;
    return refused ? refused : run();
}
static int add(const void *send, void *out, size_t words, int type, int op, struct comm *comm, void *stream, enum kind kind) {
    if (script.status) return refused = script.status;
    if (!comm || !comm->live || !send || !out || !stream || !words || type != UINT32 || op != SUM || !depth
            || (uintptr_t)send % 4 || (uintptr_t)out % 4 || grouped >= MOST_DEVICES)
        return misused(refused = INVALID_ARGUMENT);
    group[grouped++] = (struct call){send, out, words, kind, comm, stream};
    return SUCCESS;
}
int ncclAllReduce(const void *send, void *out, size_t count, int type, int op, struct comm *comm, void *stream) {
    return add(send, out, count, type, op, comm, stream, ALL_REDUCE);
}
int ncclAllGather(const void *send, void *out, size_t count, int type, struct comm *comm, void *stream) {
    return add(send, out, count, type, SUM, comm, stream, ALL_GATHER);
}
int REDUCE_SCATTER(const void *send, void *out, size_t count, int type, int op, struct comm *comm, void *stream) {
    return add(send, out, count, type, op, comm, stream, REDUCE_SCATTER_);
}
