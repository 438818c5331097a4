/* The kernel, compiled for a processor; BC_KERNEL_FILE names its text. */
#include "emulator.h"
#include BC_KERNEL_FILE

void emulated_kernel(const void *map_a, const void *map_b, void *c, u32 m, u32 n, u32 k) {
    bc_wgmma(*(const bc_map *)map_a, *(const bc_map *)map_b, (bc_sum *)c, m, n, k);
}
