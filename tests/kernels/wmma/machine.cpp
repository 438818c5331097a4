// A work-group on the host. Work-items are fibers; a wave of 32 runs until all its lanes wait for the same thing, so a
// lane that goes another way is seen. Every access to memory is checked for its place and alignment, every word of LDS
// for who touched it since the last barrier.
//
// What WMMA does is written down from AMD's matrix instruction calculator ("matrix element to register mapping",
// wave32, github.com/ROCm/amd_matrix_instruction_calculator), element by element.

#include <ucontext.h>

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

extern "C" void bc_wmma_product(const void *, const void *, void *, unsigned, unsigned, unsigned);

namespace {

enum State { RUNS, AT_WMMA, AT_UNIFORM, AT_BARRIER, DONE };
const char *const NAMES[] = {"running", "at a WMMA", "at a uniform value", "at a barrier", "at its end"};
enum { LANES = 32, STACK = 1 << 16 };

struct Item {
    ucontext_t context;
    std::vector<char> stack;
    State state;
    unsigned a[8], b[8], sums[8], value, reads;
};

struct Touched {  // one word of LDS, since the last barrier; -1 nobody, -2 several
    int written_by = -1, read_by = -1;
    bool holds = false;
};

struct Range {
    const char *start;
    size_t bytes;
};

std::vector<Item> items;
std::vector<std::vector<const char *>> bases;  // of each wave: what its reads of global memory started from
std::vector<char> local;
std::vector<Touched> touched;
std::vector<char> written;  // elements of C
Range a_range, b_range, c_range;
ucontext_t scheduler;
unsigned current, group, dims[3];
const void *arguments[3];
int family, kind;
bool races_matter;
char problem[256];

void pause(State state) {
    items[current].state = state;
    swapcontext(&items[current].context, &scheduler);
}

void report(const char *format, ...) {
    if (!problem[0]) {
        va_list values;
        va_start(values, format);
        vsnprintf(problem, sizeof problem, format, values);
        va_end(values);
    }
}

[[noreturn]] void stop() {
    for (;;) pause(DONE);
}

double value_of(unsigned bits, int element) {
    int exponent_bits = element == 2 ? 5 : element == 3 ? 8 : 4;
    int mantissa_bits = element == 2 ? 10 : element == 3 ? 7 : 3;
    if (element == 4) return (double)(int8_t)bits;
    unsigned sign = bits >> (exponent_bits + mantissa_bits), mantissa = bits & ((1u << mantissa_bits) - 1);
    int exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
    // e4m3 (OCP OFP8) has one NaN a sign and no infinity; the others have neither numbers nor zero at the top exponent.
    bool special = element == 5 ? exponent == 15 && mantissa == 7 : exponent == (1 << exponent_bits) - 1;
    if (special) return NAN;
    double size = exponent ? std::ldexp(1 + mantissa / (double)(1 << mantissa_bits), exponent - bias)
                           : std::ldexp(mantissa / (double)(1 << mantissa_bits), 1 - bias);
    return sign ? -size : size;
}

unsigned bits_of(const Item &lane, bool second, int gpr, int shift, int width) {
    return (second ? lane.b : lane.a)[gpr] >> shift & ((1u << width) - 1);
}

// A[i][k] for `second` false, B[k][i] for true.
double operand(const Item *lanes, bool second, int i, int k) {
    int width = kind <= 3 ? 16 : 8, pack = 32 / width, shift = width * (k % pack);
    if (family == 11) {
        unsigned low = bits_of(lanes[i], second, k / pack, shift, width);
        if (low != bits_of(lanes[i + 16], second, k / pack, shift, width))
            report("lanes %d and %d of %s hold different elements of k %d", i, i + 16, second ? "B" : "A", k);
        return value_of(low, kind);
    }
    int gpr = width == 16 ? 2 * (k / 8) + k / 2 % 2 : k / 4 % 2;
    int lane = 16 * (width == 16 ? k / 4 % 2 : k / 8) + i;
    return value_of(bits_of(lanes[lane], second, gpr, shift, width), kind);
}

void multiply(Item *lanes) {
    double a[16][16], b[16][16];
    for (int i = 0; i < 16; ++i)
        for (int k = 0; k < 16; ++k) {
            a[i][k] = operand(lanes, false, i, k);
            b[k][i] = operand(lanes, true, i, k);
        }
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) {
            double sum = 0;
            for (int k = 0; k < 16; ++k) sum += a[i][k] * b[k][j];
            int gpr = family == 11 ? i / 2 : i % 8, lane = family == 11 ? 16 * (i % 2) + j : 16 * (i / 8) + j;
            unsigned &place = lanes[lane].sums[gpr];
            if (kind == 4) {
                place += (unsigned)(int)sum;
            } else {
                float before, after;
                std::memcpy(&before, &place, 4);
                after = (float)(before + sum);
                std::memcpy(&place, &after, 4);
            }
        }
}

// Runs a wave until it ends or waits for the group. Lanes run in turn, the last first when `backwards`.
State run_wave(unsigned wave, bool backwards) {
    Item *lanes = &items[wave * LANES];
    for (;;) {
        for (unsigned i = 0; i < LANES; ++i) {
            current = wave * LANES + (backwards ? LANES - 1 - i : i);
            items[current].state = RUNS;
            swapcontext(&scheduler, &items[current].context);
            if (problem[0]) return DONE;
        }
        for (unsigned i = 1; i < LANES; ++i)
            if (lanes[i].state != lanes[0].state) {
                report("lane %u is %s, lane 0 %s", i, NAMES[lanes[i].state], NAMES[lanes[0].state]);
                return DONE;
            }
        if (lanes[0].state == AT_UNIFORM) {
            for (unsigned i = 1; i < LANES; ++i)
                if (lanes[i].value != lanes[0].value) report("a uniform value is not the same in lane %u", i);
        } else if (lanes[0].state == AT_WMMA) {
            multiply(lanes);
        } else {
            return lanes[0].state;
        }
        if (problem[0]) return DONE;
    }
}

void run_item() {
    bc_wmma_product(arguments[0], arguments[1], const_cast<void *>(arguments[2]), dims[0], dims[1], dims[2]);
    stop();
}

void run_group(unsigned threads, bool backwards) {
    unsigned waves = threads / LANES;
    bases.assign(waves, {});
    for (Item &item : items) {
        getcontext(&item.context);
        item.context.uc_stack.ss_sp = item.stack.data();
        item.context.uc_stack.ss_size = STACK;
        item.context.uc_link = nullptr;
        item.reads = 0;
        makecontext(&item.context, run_item, 0);
    }
    std::memset(local.data(), 0xff, local.size());
    touched.assign(touched.size(), Touched());
    for (;;) {
        State all = RUNS;
        for (unsigned i = 0; i < waves; ++i) {
            State one = run_wave(backwards ? waves - 1 - i : i, backwards);
            if (i && one != all) report("one wave is %s, another %s", NAMES[one], NAMES[all]);
            if (problem[0]) return;
            all = one;
        }
        if (all == DONE) return;
        for (Touched &word : touched) word.written_by = word.read_by = -1;
    }
}

bool within(const Range &range, const char *start, size_t bytes) {
    return start >= range.start && start + bytes <= range.start + range.bytes;
}

}  // namespace

unsigned item_of_fiber() { return current; }
unsigned group_of_fiber() { return group; }

unsigned uniform(unsigned x) {
    items[current].value = x;
    pause(AT_UNIFORM);
    return x;
}

void barrier() { pause(AT_BARRIER); }

const char *global_read(const char *base, unsigned offset, unsigned bytes) {
    std::vector<const char *> &seen = bases[current / LANES];
    unsigned number = items[current].reads++;
    if (number == seen.size()) seen.push_back(base);
    if (seen[number] != base) report("read %u of item %u has another base than its wave", number, current);
    const char *from = base + offset;
    if (!within(a_range, from, bytes) && !within(b_range, from, bytes)) {
        report("item %u reads outside of A and B", current);
    } else if ((uintptr_t)from % bytes) {
        report("item %u reads %u bytes that are not aligned", current, bytes);
    }
    if (problem[0]) stop();
    return from;
}

void global_write(const void *to, const void *from) {
    const char *place = (const char *)to;
    if (!within(c_range, place, 4) || (uintptr_t)place % 4) {
        report("item %u writes outside of C", current);
        stop();
    }
    size_t element = (place - c_range.start) / 4;
    if (written[element]++) report("element %zu of C is written twice", element);
    std::memcpy(const_cast<void *>(to), from, 4);
}

char *lds(unsigned byte, unsigned bytes, unsigned size, bool writes) {
    if (size != local.size()) report("LDS is %u bytes, not %zu", size, local.size());
    if (byte % bytes) report("item %u accesses %u bytes of LDS that are not aligned", current, bytes);
    if (byte > size - bytes) report("item %u accesses LDS beyond its end", current);
    if (problem[0]) stop();
    for (unsigned word = byte / 4; word < (byte + bytes) / 4 && races_matter; ++word) {
        Touched &here = touched[word];
        int me = (int)current;
        bool race = here.written_by != -1 && here.written_by != me;
        if (writes) {
            race = race || (here.read_by != -1 && here.read_by != me);
            here.written_by = me;
            here.holds = true;
        } else {
            if (!here.holds) report("item %u reads word %u of LDS, which nobody wrote", current, word);
            here.read_by = here.read_by == -1 || here.read_by == me ? me : -2;
        }
        if (race) report("a race for word %u of LDS, with no barrier between", word);
    }
    return local.data() + byte;
}

void wmma(int gfx, int element, const unsigned *a, const unsigned *b, unsigned *sums) {
    Item &mine = items[current];
    family = gfx;
    kind = element;
    std::memcpy(mine.a, a, sizeof mine.a);
    std::memcpy(mine.b, b, sizeof mine.b);
    std::memcpy(mine.sums, sums, sizeof mine.sums);
    pause(AT_WMMA);
    std::memcpy(sums, items[current].sums, sizeof mine.sums);
}

// Runs groups 0 to groups - 1. Null, or what was done wrong.
extern "C" const char *run_kernel(
    const void *a, size_t bytes_a, const void *b, size_t bytes_b, void *c, size_t bytes_c, unsigned m, unsigned n,
    unsigned k, unsigned groups, unsigned threads, unsigned lds_bytes, int backwards, int races
) {
    problem[0] = 0;
    a_range = {(const char *)a, bytes_a};
    b_range = {(const char *)b, bytes_b};
    c_range = {(const char *)c, bytes_c};
    arguments[0] = a, arguments[1] = b, arguments[2] = c;
    dims[0] = m, dims[1] = n, dims[2] = k;
    races_matter = races;
    local.assign(lds_bytes, 0);
    touched.assign(lds_bytes / 4, Touched());
    written.assign(bytes_c / 4, 0);
    items = std::vector<Item>(threads);
    for (Item &item : items) item.stack.resize(STACK);
    for (unsigned i = 0; i < groups && !problem[0]; ++i) {
        group = backwards ? groups - 1 - i : i;
        run_group(threads, backwards);
    }
    for (size_t i = 0; i < written.size() && !problem[0]; ++i)
        if (!written[i]) report("element %zu of C is not written", i);
    return problem[0] ? problem : nullptr;
}
