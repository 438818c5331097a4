/* The parts of an emulated GPU: threads as fibers, shared memory with a record of who wrote and read each row of it,
 * and barriers. A thread carries a clock: how much it may know to be complete, of each barrier's phases and of each
 * warpgroup's products. It learns only by waiting. Whatever it touches is checked against that, so an order that merely
 * happened to come out right is still a fault. */
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <ucontext.h>
#include <vector>

typedef uint32_t u32;
typedef unsigned long long u64;

/* Ends the program: 1 is a fault of the kernel; the first word of what is said is its kind. */
[[noreturn]] void fault(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct Clock {
    std::vector<u64> known;
    u64 of(u32 source) const { return source < known.size() ? known[source] : 0; }
    void learn(u32 source, u64 value);
    void learn(const Clock &other);
};

/* Sums that products are still working on: the registers hold rubbish meanwhile. */
struct Sums {
    u32 *registers;
    std::vector<u32> values;
    u64 last; /* the thread's product that used them last */
};

struct Group;

struct Fiber {
    Group *group;
    u32 thread;
    ucontext_t context;
    bool done = false;
    Clock clock;
    /* Products. */
    u64 issued = 0;
    std::vector<u64> lots; /* products issued up to each commit */
    std::vector<Sums> busy;
    bool fenced = false;
    u32 registers = 0;
    u32 warpgroup() const { return thread / 128; }
};

struct Waiters {
    std::vector<Fiber *> fibers;
};

struct Barrier {
    u32 source; /* its place in clocks; the value is the number of phases that are complete */
    u32 arrivals;
    u32 pending;
    long bytes = 0;
    u64 phase = 0;
    Clock gathering, released;
    Waiters waiters;
};

/* 128 bytes of shared memory, a row of a swizzled tile. */
struct Row {
    bool landed = true;
    u32 barrier = 0; /* source of the barrier that told of its last copy; 0 for none */
    u64 phase = 0;
    std::map<u32, u64> read; /* warpgroup's source: its last product that reads this */
};

struct Product {
    u64 a, b;
    u32 keep, count;
    u32 issued = 0;
    std::vector<u32 *> registers;
};

struct Warpgroup {
    u32 source; /* in clocks: the number of products that are complete */
    std::vector<Product> products;
    u64 complete = 0;
    Waiters waiters;
};

struct Group {
    u32 number, rank;
    std::vector<uint8_t> memory;
    std::vector<Row> rows;
    std::map<u32, std::unique_ptr<Barrier>> barriers;
    std::vector<Warpgroup> warpgroups;
    std::vector<std::unique_ptr<Fiber>> fibers;
};

/* One tensor map, as the test describes it. */
struct Map {
    const uint8_t *data;
    u32 rows, depth, element_bytes, box_rows, box_depth;
    u64 row_bytes;
};

/* A copy that has been started: one box into one group. */
struct Copy {
    const Map *map;
    u32 depth, row, to, barrier;
    Group *group;
};

struct Machine {
    /* The launch. */
    u32 m, n, k, groups, threads, cluster, shared_bytes, element, order;
    Map map_a, map_b;
    std::vector<u32> c;
    std::vector<uint8_t> written;
    /* What runs now. */
    std::vector<Group *> running;
    std::vector<std::unique_ptr<Group>> storage;
    std::vector<Fiber *> ready;
    std::vector<Copy> copies;
    Fiber *current = nullptr;
    ucontext_t scheduler;
    std::mt19937 random;
    u32 sources = 1;
    u32 gathered = 0; /* threads at the barrier of all */
    Clock gathered_clock;
    Waiters gathering;
    bool stuck = false;
    u64 nanoseconds = 0, polls = 0, products = 0, landed = 0, switches = 0;

    void run();
    void run_cluster(u32 first);
    void block(Waiters &waiters);
    void wake(Waiters &waiters);
    void land(size_t which);
};

extern Machine machine;
const u32 SHARED_BASE =
    1040; /* past the system's KiB, and not where a swizzle pattern begins: a kernel must see to that */

Barrier &barrier_at(Group &group, u32 address);
void barrier_changed(Barrier &barrier);
/* products.cpp */
void complete_products(Group &group, u32 warpgroup, u64 up_to);
