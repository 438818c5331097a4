/* Runs groups of a kernel that was compiled with kernel.cpp: threads as fibers, warps in an order that is asked for.
 *
 * Strict where a GPU is not: a copy arrives only when its thread waits for it, and until then its target reads as ones;
 * a chunk of shared memory that is read must have been published by a barrier after its arrival, and one that is
 * overwritten must not have been read since the last barrier (barriers are the only order between warps here, so this
 * finds a race in whatever order the warps ran); addresses must lie in their arrays; lanes must not part.
 *
 *   emulated run THREADS SHARED M N K ELEMENT_BYTES FRACTION ORDER FIRST_M FIRST_N FIRST_GROUP END_GROUP A B C
 *     runs groups FIRST_GROUP up to END_GROUP, and prints what it counted as JSON
 *     A: file of rows FIRST_M and on of A; B: of rows FIRST_N and on of B; C: file to write, those rows and columns of C
 *     ORDER: 0 warps forward, 1 backward, others: seed of slices at random
 *   emulated tiles TILES_M TILES_N
 *     prints the tile of each group, `m n` a line
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tensor.h"

extern "C" void bc_mma(const void *, const void *, void *, uint32_t m, uint32_t n, uint32_t k);
void tile_of_group(uint32_t group, uint32_t tiles_m, uint32_t tiles_n, uint32_t tile[2]);

static const uint32_t SHARED_BASE = 1024, UNWRITTEN = 0x7fa5a5a5u; /* an fp32 that no product gives */
static const size_t STACK_BYTES = 64 * 1024;
enum { MOST_THREADS = 1024, MOST_SHARED = 228 * 1024, MOST_COPIES = 512 };

struct Copy {
    uint32_t chunk;
    const void *from;
    uint32_t group;
};

struct Fiber {
    jmp_buf at;
    ucontext_t start;
    bool started, done;
    Operation *operation;
    Copy copies[MOST_COPIES]; /* in flight, oldest first */
    uint32_t copy_count, groups;
};

/* 16 bytes of shared memory. Epochs count barriers, from 1. */
struct Chunk {
    bool written, in_flight;
    uint32_t arrived, read, issued;
};

struct Range {
    uint8_t *first;
    uint64_t bytes;
    bool holds(const void *at, uint64_t size) const {
        uint64_t offset = (const uint8_t *)at - first;
        return (const uint8_t *)at >= first && offset <= bytes && size <= bytes - offset;
    }
};

static Fiber fibers[MOST_THREADS];
static char *stacks;
static Chunk chunks[MOST_SHARED / 16];
static uint8_t shared[MOST_SHARED];
static uint32_t thread_count, shared_bytes, group_now, shape[3], touched_bytes;
static int fraction;
static Range a_range, b_range, c_range;
static jmp_buf home;
static Fiber *current;

static uint64_t errors, mmas, ldmatrices, ldmatrix_conflicts, copies, copy_conflicts, copy_sectors, barriers, stores,
    store_sectors;

static bool complain(const char *format, ...) {
    if (errors++ < 6) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "group %u: ", group_now);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    return false;
}

uint32_t emulated_thread() { return (uint32_t)(current - fibers); }
uint32_t emulated_group() { return group_now; }
uint32_t emulated_shared_base() { return SHARED_BASE; }

void emulate(Operation &operation) {
    current->operation = &operation;
    if (_setjmp(current->at) == 0) _longjmp(home, 1);
}

static void body() {
    bc_mma(a_range.first, b_range.first, c_range.first, shape[0], shape[1], shape[2]);
    current->done = true;
    _longjmp(home, 1);
}

static void resume(Fiber &fiber) {
    fiber.operation = 0;
    current = &fiber;
    if (_setjmp(home) != 0) return;
    if (fiber.started) _longjmp(fiber.at, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

/* Whether 16 bytes may lie at a shared address; if so, which chunk it is. */
static bool find_chunk(uint32_t at, const char *what, uint32_t &chunk) {
    if (at % 16 != 0) return complain("%s: address %#x is not a multiple of 16", what, at);
    if (at < SHARED_BASE || at + 16 > SHARED_BASE + shared_bytes)
        return complain("%s: address %#x is outside of shared memory", what, at);
    chunk = (at - SHARED_BASE) / 16;
    if ((chunk + 1) * 16 > touched_bytes) touched_bytes = (chunk + 1) * 16;
    return true;
}

/* Passes through the banks that eight lanes at a time need beyond one, for 16 bytes a lane. */
static uint64_t conflicts_of(Operation *const (&lanes)[32], bool all) {
    uint64_t extra = 0;
    for (int first = 0; first < 32; first += 8) {
        uint32_t most = 0;
        for (uint32_t bank = 0; bank < 8; bank++) {
            uint32_t seen[8], count = 0;
            for (int lane = first; lane < first + 8; lane++) {
                if (!all && !lanes[lane]->wanted) continue;
                uint32_t chunk = lanes[lane]->at / 16, i = 0;
                if (chunk % 8 != bank) continue;
                while (i < count && seen[i] != chunk) i++;
                if (i == count) seen[count++] = chunk;
            }
            if (count > most) most = count;
        }
        if (most > 1) extra += most - 1;
    }
    return extra;
}

static void add_sector(uint64_t (&seen)[64], int &count, const void *at) {
    uint64_t sector = (uint64_t)at / 32;
    for (int i = 0; i < count; i++)
        if (seen[i] == sector) return;
    seen[count++] = sector;
}

static void warp_ldmatrix(Operation *const (&lanes)[32], uint32_t epoch) {
    const uint8_t *rows[32];
    for (int lane = 0; lane < 32; lane++) {
        uint32_t chunk;
        rows[lane] = shared;
        if (!find_chunk(lanes[lane]->at, "ldmatrix", chunk)) continue;
        Chunk &state = chunks[chunk];
        rows[lane] = shared + chunk * 16;
        if (!state.written) complain("ldmatrix: bytes at %#x were never written", lanes[lane]->at);
        else if (state.in_flight) complain("ldmatrix: bytes at %#x are still in flight", lanes[lane]->at);
        else if (state.arrived >= epoch) complain("ldmatrix: no barrier since the bytes at %#x arrived", lanes[lane]->at);
        state.read = epoch;
    }
    for (int lane = 0; lane < 32; lane++)
        for (int matrix = 0; matrix < 4; matrix++)
            memcpy(&lanes[lane]->d[matrix], rows[matrix * 8 + lane / 4] + lane % 4 * 4, 4);
    ldmatrices++;
    ldmatrix_conflicts += conflicts_of(lanes, true);
}

static void warp_copy(uint32_t warp, Operation *const (&lanes)[32], uint32_t epoch) {
    uint64_t seen[64];
    int sectors = 0;
    for (int lane = 0; lane < 32; lane++) {
        const Operation &operation = *lanes[lane];
        Fiber &fiber = fibers[warp * 32 + lane];
        uint32_t chunk;
        if (!operation.wanted || !find_chunk(operation.at, "cp.async", chunk)) continue;
        if ((uint64_t)operation.from % 16 != 0 || !(a_range.holds(operation.from, 16) || b_range.holds(operation.from, 16))) {
            complain("cp.async: thread %u reads outside of the inputs", warp * 32 + lane);
            continue;
        }
        Chunk &state = chunks[chunk];
        if (state.in_flight) complain("cp.async: two copies to %#x at a time", operation.at);
        if (state.written && state.issued >= epoch) complain("cp.async: two copies to %#x without a barrier", operation.at);
        if (state.read >= epoch) complain("cp.async: no barrier since the bytes at %#x were read", operation.at);
        state.written = state.in_flight = true;
        state.issued = epoch;
        memset(shared + chunk * 16, 0xff, 16);
        if (fiber.copy_count == MOST_COPIES) complain("cp.async: too many in flight");
        else fiber.copies[fiber.copy_count++] = {chunk, operation.from, fiber.groups};
        add_sector(seen, sectors, operation.from);
        copies++;
    }
    copy_sectors += sectors;
    copy_conflicts += conflicts_of(lanes, false);
}

static void finish_copies(Fiber &fiber, uint32_t pending, uint32_t epoch) {
    uint32_t done = 0;
    while (done < fiber.copy_count && fiber.copies[done].group + pending < fiber.groups) {
        const Copy &copy = fiber.copies[done++];
        memcpy(shared + copy.chunk * 16, copy.from, 16);
        chunks[copy.chunk].in_flight = false;
        chunks[copy.chunk].arrived = epoch;
    }
    memmove(fiber.copies, fiber.copies + done, (fiber.copy_count - done) * sizeof(Copy));
    fiber.copy_count -= done;
}

static void warp_store(Operation *const (&lanes)[32]) {
    uint64_t seen[64];
    int sectors = 0;
    for (int lane = 0; lane < 32; lane++) {
        uint32_t *to = (uint32_t *)lanes[lane]->to;
        if ((uint64_t)to % 8 != 0 || !c_range.holds(to, 8)) {
            complain("store: lane %d writes outside of C", lane);
            continue;
        }
        if (to[0] != UNWRITTEN || to[1] != UNWRITTEN) complain("store: written before, or not of this tile");
        memcpy(to, lanes[lane]->c, 8);
        add_sector(seen, sectors, to);
        stores++;
    }
    store_sectors += sectors;
}

/* Runs a warp to its next operation and does it. False when the group cannot go on. */
static bool step(uint32_t warp, uint32_t epoch, bool backward, bool &at_barrier, bool &done) {
    Operation *lanes[32];
    uint32_t finished = 0;
    for (uint32_t i = 0; i < 32; i++) resume(fibers[warp * 32 + (backward ? 31 - i : i)]);
    for (uint32_t lane = 0; lane < 32; lane++) {
        lanes[lane] = fibers[warp * 32 + lane].operation;
        finished += fibers[warp * 32 + lane].done;
    }
    done = finished == 32;
    if (done) {
        for (uint32_t lane = 0; lane < 32; lane++)
            if (fibers[warp * 32 + lane].copy_count) return complain("a thread ends with copies in flight");
        return true;
    }
    if (finished) return complain("warp %u: some lanes end, others do not", warp);
    for (uint32_t lane = 1; lane < 32; lane++)
        if (lanes[lane]->kind != lanes[0]->kind) return complain("warp %u: lanes part", warp);
    switch (lanes[0]->kind) {
    case LDMATRIX_X4: warp_ldmatrix(lanes, epoch); break;
    case MMA: warp_mma(lanes, fraction), mmas++; break;
    case COPY: warp_copy(warp, lanes, epoch); break;
    case STORE: warp_store(lanes); break;
    case BARRIER: at_barrier = true; break;
    case COMMIT:
        for (uint32_t lane = 0; lane < 32; lane++) fibers[warp * 32 + lane].groups++;
        break;
    case WAIT:
        for (uint32_t lane = 0; lane < 32; lane++) finish_copies(fibers[warp * 32 + lane], lanes[lane]->pending, epoch);
        break;
    }
    return true;
}

static void run_group(uint32_t group, uint32_t order) {
    const uint32_t warps = thread_count / 32;
    bool at_barrier[MOST_THREADS / 32] = {}, done[MOST_THREADS / 32] = {};
    uint32_t random = order * 2654435761u + group;
    group_now = group;
    memset(chunks, 0, sizeof chunks);
    memset(shared, 0xff, sizeof shared);
    for (uint32_t thread = 0; thread < thread_count; thread++) {
        Fiber &fiber = fibers[thread];
        fiber.started = fiber.done = false;
        fiber.copy_count = fiber.groups = 0;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = stacks + thread * STACK_BYTES;
        fiber.start.uc_stack.ss_size = STACK_BYTES;
        fiber.start.uc_link = 0;
        makecontext(&fiber.start, body, 0);
    }
    for (uint32_t epoch = 1, left = warps; left;) {
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < warps; i++) {
            uint32_t warp = order == 1 ? warps - 1 - i : i, slice = 0xffffffffu;
            if (order > 1) {
                random = random * 1664525u + 1013904223u;
                warp = (i + (random >> 16)) % warps; /* may take one twice and leave one out: the next round has it */
                slice = 1 + (random >> 24) % 7;
            }
            while (slice-- && !at_barrier[warp] && !done[warp]) {
                if (!step(warp, epoch, order == 1, at_barrier[warp], done[warp])) return;
                left -= done[warp];
            }
        }
        for (uint32_t warp = 0; warp < warps; warp++) waiting += at_barrier[warp];
        if (waiting && waiting == left && left < warps) {
            complain("some warps wait at a barrier, others have ended");
            return;
        }
        if (waiting == warps) {
            memset(at_barrier, 0, sizeof at_barrier);
            epoch++;
            barriers++;
        }
    }
}

static Range reserve(uint64_t bytes) {
    void *first = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (first == MAP_FAILED) {
        fprintf(stderr, "no room for %llu bytes\n", (unsigned long long)bytes);
        exit(3);
    }
    return {(uint8_t *)first, bytes};
}

static Range load(const char *path, uint64_t rows, uint64_t row_bytes, uint64_t first_row) {
    Range range = reserve(rows * row_bytes);
    FILE *file = fopen(path, "rb");
    if (!file || fread(range.first + first_row * row_bytes, row_bytes, rows - first_row, file) != rows - first_row) {
        fprintf(stderr, "%s is not as long as was said\n", path);
        exit(2);
    }
    fclose(file);
    return range;
}

int main(int count, char **words) {
    if (count == 4 && strcmp(words[1], "tiles") == 0) {
        uint32_t tiles_m = atoi(words[2]), tiles_n = atoi(words[3]), tile[2];
        for (uint32_t group = 0; group < tiles_m * tiles_n; group++) {
            tile_of_group(group, tiles_m, tiles_n, tile);
            printf("%u %u\n", tile[0], tile[1]);
        }
        return 0;
    }
    if (count != 17 || strcmp(words[1], "run") != 0) return 2;
    uint64_t numbers[12];
    for (int i = 0; i < 12; i++) numbers[i] = strtoull(words[2 + i], 0, 10);
    thread_count = numbers[0], shared_bytes = numbers[1], fraction = numbers[6];
    for (int i = 0; i < 3; i++) shape[i] = numbers[2 + i];
    if (thread_count > MOST_THREADS || thread_count % 32 || shared_bytes > MOST_SHARED) return 2;
    const uint64_t m = shape[0], n = shape[1], row_bytes = shape[2] * numbers[5];
    const uint64_t order = numbers[7], first_m = numbers[8], first_n = numbers[9];

    stacks = (char *)reserve(MOST_THREADS * STACK_BYTES).first;
    a_range = load(words[14], m, row_bytes, first_m);
    b_range = load(words[15], n, row_bytes, first_n);
    c_range = reserve(m * n * 4);
    uint32_t *c = (uint32_t *)c_range.first;
    for (uint64_t row = first_m; row < m; row++)
        for (uint64_t column = first_n; column < n; column++) c[row * n + column] = UNWRITTEN;

    for (uint64_t group = numbers[10]; group < numbers[11]; group++) run_group(group, order);

    FILE *file = fopen(words[16], "wb");
    if (!file) return 2;
    for (uint64_t row = first_m; row < m; row++) fwrite(c + row * n + first_n, 4, n - first_n, file);
    if (fclose(file) != 0) return 2;
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {{"errors", errors}, {"mma", mmas}, {"ldmatrix", ldmatrices}, {"ldmatrix_conflicts", ldmatrix_conflicts},
                  {"copies", copies}, {"copy_conflicts", copy_conflicts}, {"copy_sectors", copy_sectors},
                  {"stores", stores}, {"store_sectors", store_sectors}, {"barriers", barriers},
                  {"touched_bytes", touched_bytes}};
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
        printf("%s\"%s\": %llu", i ? ", " : "{", counts[i].name, (unsigned long long)counts[i].value);
    printf("}\n");
    return 0;
}
