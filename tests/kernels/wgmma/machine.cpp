/* Threads take turns, copies land, and nothing else happens on its own. Three orders of both: forward with copies that
 * land at once, backward with copies that land when nobody can run, and random. */
#include "machine.h"
#include "emulator.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

Machine machine;
static const size_t STACK_BYTES = 64 * 1024;

void fault(const char *kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", kind);
    vfprintf(stderr, format, arguments);
    if (machine.current)
        fprintf(stderr, " (group %u, thread %u)", machine.current->group->number, machine.current->thread);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

void Clock::learn(u32 source, u64 value) {
    if (source >= known.size()) known.resize(source + 1, 0);
    known[source] = std::max(known[source], value);
}
void Clock::learn(const Clock &other) {
    for (u32 source = 0; source < other.known.size(); source++) learn(source, other.known[source]);
}

void Machine::block(Waiters &waiters) {
    waiters.fibers.push_back(current);
    switches++;
    swapcontext(&current->context, &scheduler);
}
void Machine::wake(Waiters &waiters) {
    ready.insert(ready.end(), waiters.fibers.begin(), waiters.fibers.end());
    waiters.fibers.clear();
}

static void enter() {
    Machine &m = machine;
    alignas(64) static const void *maps[2][16];
    maps[0][0] = &m.map_a, maps[1][0] = &m.map_b;
    emulated_kernel(maps[0], maps[1], m.c.data(), m.m, m.n, m.k);
    m.current->done = true;
    swapcontext(&m.current->context, &m.scheduler);
}

/* What each thread that has not ended waits for. */
static std::string standing() {
    std::string text;
    char line[160];
    for (Group *group : machine.running) {
        for (auto &[address, barrier] : group->barriers)
            if (!barrier->waiters.fibers.empty()) {
                snprintf(line, sizeof line,
                         "; group %u: %zu threads at barrier %u, phase %llu, %u arrivals and %ld bytes short",
                         group->number, barrier->waiters.fibers.size(), address, barrier->phase, barrier->pending,
                         barrier->bytes);
                text += line;
            }
        for (auto &warpgroup : group->warpgroups)
            if (!warpgroup.waiters.fibers.empty())
                text += "; threads wait for products that not all of their warpgroup started";
    }
    if (!machine.gathering.fibers.empty()) text += "; threads at the barrier of all";
    return text;
}

void Machine::run_cluster(u32 first) {
    static std::vector<std::unique_ptr<char[]>> stacks;
    storage.clear();
    running.clear();
    sources = 1;
    for (u32 rank = 0; rank < cluster; rank++) {
        auto group = std::make_unique<Group>();
        group->number = first + rank;
        group->rank = rank;
        group->memory.assign(shared_bytes, 0xa5);
        group->rows.resize((SHARED_BASE + shared_bytes) / 128 + 1);
        for (u32 w = 0; w < threads / 128; w++) group->warpgroups.push_back(Warpgroup{sources++, {}, 0, {}});
        for (u32 thread = 0; thread < threads; thread++) {
            auto fiber = std::make_unique<Fiber>();
            fiber->group = group.get();
            fiber->thread = thread;
            size_t slot = rank * threads + thread;
            if (slot >= stacks.size()) stacks.emplace_back(new char[STACK_BYTES]);
            getcontext(&fiber->context);
            fiber->context.uc_stack.ss_sp = stacks[slot].get();
            fiber->context.uc_stack.ss_size = STACK_BYTES;
            fiber->context.uc_link = nullptr;
            makecontext(&fiber->context, enter, 0);
            ready.push_back(fiber.get());
            group->fibers.push_back(std::move(fiber));
        }
        running.push_back(group.get());
        storage.push_back(std::move(group));
    }
    for (;;) {
        bool late = order == 1, mixed = order == 2;
        if (!copies.empty() && (ready.empty() || (!late && (!mixed || random() % 8 == 0))))
            land(order == 0 ? 0 : random() % copies.size());
        if (ready.empty() && !copies.empty()) continue;
        if (ready.empty()) {
            bool all = true;
            for (Group *group : running)
                for (auto &fiber : group->fibers) all = all && fiber->done;
            if (all) break;
            if (stuck) fault("deadlock", "and no thread is in a bounded wait%s", standing().c_str());
            /* Time goes on; those who wait at barriers see that and must give up. */
            fprintf(stderr, "all threads wait%s\n", standing().c_str());
            stuck = true;
            for (Group *group : running)
                for (auto &[address, barrier] : group->barriers) wake(barrier->waiters);
            continue;
        }
        size_t which = order == 0 ? 0 : order == 1 ? ready.size() - 1 : random() % ready.size();
        current = ready[which];
        ready.erase(ready.begin() + which);
        swapcontext(&scheduler, &current->context);
        current = nullptr;
    }
    for (Group *group : running) {
        u32 registers = 0;
        for (u32 w = 0; w < threads / 128; w++) registers += 128 * group->fibers[w * 128]->registers;
        /* 168 is what 65536 registers give to each of 384 threads, in steps of 8. */
        u32 given = threads * (65536 / threads / 8 * 8);
        if (registers > given) fault("registers", "warpgroups ask for %u, the launch has %u", registers, given);
        for (auto &[address, barrier] : group->barriers)
            if (barrier->bytes) fault("bytes", "barrier %u ends with %ld bytes outstanding", address, barrier->bytes);
        for (auto &fiber : group->fibers)
            if (!fiber->busy.empty()) fault("products", "thread %u ended with products outstanding", fiber->thread);
    }
}

void Machine::run() {
    for (u32 first = 0; first < groups; first += cluster) run_cluster(first);
}
