/* Bodies of the kernel's instructions, but for the products: who am I, barriers, copies, stores. */
#include "emulator.h"
#include "machine.h"

#include <cstring>

u32 bc_thread() { return machine.current->thread; }
u32 bc_group() { return machine.current->group->number; }
u32 bc_groups() { return machine.groups; }
u32 bc_cluster_rank() { return machine.current->group->rank; }
u32 bc_shared_base() { return SHARED_BASE; }

/* Time stands still as long as there is anything to do. */
u64 bc_nanoseconds() {
    if (machine.stuck) machine.nanoseconds += 100000000;
    return machine.nanoseconds;
}
void bc_stop() {
    fault("deadlock", "trapped after %llu polls and %llu ms", machine.polls, machine.nanoseconds / 1000000);
}

void emulated_registers(u32 count) {
    if (count < 24 || count > 256 || count % 8)
        fault("registers", "setmaxnreg takes 24 to 256 in steps of 8, not %u", count);
    machine.current->registers = count;
}

/* Barriers. */

Barrier &barrier_at(Group &group, u32 address) {
    auto found = group.barriers.find(address);
    if (found == group.barriers.end())
        fault("barrier", "none has been initialised at %u of group %u", address, group.number);
    return *found->second;
}

/* A phase is complete when all arrivals and all bytes have come; the next begins at once (PTX 9.7.13.15). */
void barrier_changed(Barrier &barrier) {
    if (barrier.pending || barrier.bytes) return;
    barrier.phase++;
    barrier.pending = barrier.arrivals;
    barrier.released.learn(barrier.gathering);
    barrier.released.learn(barrier.source, barrier.phase);
    machine.wake(barrier.waiters);
}

static void arrive(Barrier &barrier) {
    if (!barrier.pending) fault("barrier", "more arrivals than the %u of a phase", barrier.arrivals);
    barrier.gathering.learn(machine.current->clock);
    barrier.pending--;
    barrier_changed(barrier);
}

void bc_barrier_init(u32 address, u32 arrivals) {
    Group &group = *machine.current->group;
    if (address % 8 || address < SHARED_BASE || address + 8 > SHARED_BASE + machine.shared_bytes)
        fault("address", "a barrier at %u; the group has %u bytes from %u on", address, machine.shared_bytes,
              SHARED_BASE);
    if (!arrivals || group.barriers.count(address))
        fault("barrier", "initialised twice, or with no arrivals, at %u", address);
    auto barrier = std::make_unique<Barrier>();
    barrier->source = machine.sources++;
    barrier->arrivals = barrier->pending = arrivals;
    group.barriers[address] = std::move(barrier);
}
void bc_barrier_init_fence() {}
void bc_together() {} /* each thread must know for itself, so that nothing rests on a neighbour's wait */

void bc_barrier_expect(u32 address, u32 bytes) {
    Barrier &barrier = barrier_at(*machine.current->group, address);
    barrier.bytes += bytes;
    arrive(barrier);
}

void bc_barrier_arrive(u32 address, u32 rank) {
    if (rank >= machine.running.size()) fault("address", "no group of rank %u in the cluster", rank);
    Group &there = *machine.running[rank];
    bool all = true;
    for (auto &fiber : there.fibers) all = all && fiber->done;
    if (all) fault("barrier", "arrival at a group that has ended");
    arrive(barrier_at(there, address));
}

bool bc_barrier_done(u32 address, u32 parity) {
    Barrier &barrier = barrier_at(*machine.current->group, address);
    while ((barrier.phase & 1) == parity) {
        if (machine.stuck) {
            machine.polls++;
            return false;
        }
        machine.block(barrier.waiters);
    }
    machine.current->clock.learn(barrier.released);
    return true;
}

void bc_everyone() {
    u32 all = machine.threads * (u32)machine.running.size();
    if (machine.cluster == 1) all = machine.threads;
    machine.gathered_clock.learn(machine.current->clock);
    if (++machine.gathered < all) {
        machine.block(machine.gathering);
    } else {
        machine.gathered = 0;
        for (Fiber *fiber : machine.gathering.fibers) fiber->clock.learn(machine.gathered_clock);
        machine.current->clock.learn(machine.gathered_clock);
        machine.gathered_clock = Clock();
        machine.wake(machine.gathering);
    }
}

/* Copies. */

void bc_map_prefetch(const bc_map *) {}

/* The kernel's opaque map begins with the address of ours, and lies where the hardware wants it. */
static const Map &map_of(const bc_map *map) {
    const Map *known = *(const Map *const *)map;
    if ((uintptr_t)map % 64) fault("address", "a tensor map lies at a multiple of 64 bytes");
    if (known != &machine.map_a && known != &machine.map_b) fault("address", "this is no tensor map");
    return *known;
}

/* A copy may begin when the one before has landed, and all products that read these rows are complete, as far as the
 * thread that starts it can know. Until it lands there is rubbish. */
static void start(const Map &map, u32 to, u32 depth, u32 row, u32 barrier, Group &group) {
    u32 bytes = map.box_rows * 128;
    if (map.box_depth * map.element_bytes != 128)
        fault("address", "a box of %u elements is not 128 bytes wide", map.box_depth);
    if (to % 1024) fault("address", "a copy to %u, which is not where a pattern of the swizzle begins", to);
    if (to < SHARED_BASE || to + bytes > SHARED_BASE + machine.shared_bytes)
        fault("address", "a copy of %u bytes to %u; the group has %u bytes from %u on", bytes, to, machine.shared_bytes,
              SHARED_BASE);
    const Clock &clock = machine.current->clock;
    for (u32 r = to / 128; r < (to + bytes) / 128; r++) {
        Row &target = group.rows[r];
        if (!target.landed) fault("race", "a copy to %u while another is under way", r * 128);
        if (target.barrier && clock.of(target.barrier) <= target.phase)
            fault("race", "a copy to %u, and nobody knows that the one before has landed", r * 128);
        for (auto &[warpgroup, product] : target.read)
            if (clock.of(warpgroup) < product) fault("race", "a copy to %u, which products may still read", r * 128);
        target = Row();
        target.landed = false;
    }
    memset(&group.memory[to - SHARED_BASE], 0xff, bytes);
    machine.copies.push_back(Copy{&map, depth, row, to, barrier, &group});
}

void bc_load(u32 to, const bc_map *map, u32 depth, u32 row, u32 barrier) {
    start(map_of(map), to, depth, row, barrier, *machine.current->group);
}
void bc_load_to_cluster(u32 to, const bc_map *map, u32 depth, u32 row, u32 barrier, u32 mask) {
    if (!mask || mask >> machine.running.size()) fault("address", "a cluster mask of %u", mask);
    for (Group *group : machine.running)
        if (mask >> group->rank & 1) start(map_of(map), to, depth, row, barrier, *group);
}

/* Box row r lies at 128 * r; the 16-byte chunk of an address is bits 4 to 6, exclusive or bits 7 to 9
 * (CU_TENSOR_MAP_SWIZZLE_128B: the pattern repeats every 1024 bytes). What is outside of the matrix reads as zero. */
void Machine::land(size_t which) {
    Copy copy = copies[which];
    copies.erase(copies.begin() + which);
    const Map &map = *copy.map;
    for (u32 r = 0; r < map.box_rows; r++)
        for (u32 chunk = 0; chunk < 8; chunk++) {
            u32 plain = copy.to + r * 128 + chunk * 16, address = plain ^ ((plain >> 7 & 7) << 4);
            uint8_t bytes[16] = {0};
            for (u32 byte = 0; byte < 16; byte++) {
                u64 column = (u64)copy.depth * map.element_bytes + chunk * 16 + byte, row = (u64)copy.row + r;
                if (row < map.rows && column < (u64)map.depth * map.element_bytes)
                    bytes[byte] = map.data[row * map.row_bytes + column];
            }
            memcpy(&copy.group->memory[address - SHARED_BASE], bytes, 16);
        }
    Barrier &barrier = barrier_at(*copy.group, copy.barrier);
    for (u32 r = copy.to / 128; r < copy.to / 128 + map.box_rows; r++) {
        Row &row = copy.group->rows[r];
        row.landed = true;
        row.barrier = barrier.source;
        row.phase = barrier.phase;
    }
    landed++;
    barrier.bytes -= map.box_rows * 128;
    barrier_changed(barrier);
}

void emulated_store(void *to, const void *pair) {
    u32 *base = machine.c.data(), *at = (u32 *)to;
    if (at < base || at + 2 > base + machine.c.size() || (uintptr_t)to % 8)
        fault("address", "a store outside of C, or not aligned");
    memcpy(at, pair, 8);
    for (size_t i = at - base; i < (size_t)(at - base) + 2; i++)
        if (machine.written[i]++) fault("store", "element %zu of C is written twice", i);
}
