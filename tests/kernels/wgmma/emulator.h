/* What boxcheck/kernels/wgmma.cu needs of a GPU, for a processor: the words of CUDA, and a body for each of its
 * instructions (instructions.cpp). The text of the kernel is included after this. */
#pragma once

#define BC_EMULATE
#define __global__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__

typedef unsigned int u32;
typedef unsigned long long u64;
struct bc_map;

u32 bc_thread();
u32 bc_group();
u32 bc_groups();
u32 bc_cluster_rank();
u32 bc_shared_base();
u64 bc_nanoseconds();
void bc_stop();
void bc_barrier_init(u32 barrier, u32 arrivals);
void bc_barrier_init_fence();
void bc_everyone();
void bc_together();
void bc_barrier_expect(u32 barrier, u32 bytes);
void bc_barrier_arrive(u32 barrier, u32 rank);
bool bc_barrier_done(u32 barrier, u32 parity);
void bc_map_prefetch(const bc_map *map);
void bc_load(u32 to, const bc_map *map, u32 k, u32 row, u32 barrier);
void bc_load_to_cluster(u32 to, const bc_map *map, u32 k, u32 row, u32 barrier, u32 mask);
void bc_products_fence();
void bc_products_commit();

void emulated_registers(u32 count);
void emulated_products_wait(u32 left);
void emulated_multiply(void *sums, u32 count, u64 a, u64 b, u32 keep);
void emulated_store(void *to, const void *pair);

#define bc_fewer_registers() emulated_registers(BC_LOADER_REGISTERS)
#define bc_more_registers() emulated_registers(BC_MULTIPLIER_REGISTERS)
template <int left> void bc_products_wait() { emulated_products_wait(left); }
template <typename T, u32 count> void bc_multiply(T (&sums)[count], u64 a, u64 b, u32 keep) {
    emulated_multiply(sums, count, a, b, keep);
}
template <typename T> void bc_store(T *to, T first, T second) {
    T pair[2] = {first, second};
    emulated_store(to, pair);
}

/* What the kernel's own file tells the emulator. */
void emulated_kernel(const void *map_a, const void *map_b, void *c, u32 m, u32 n, u32 k);
