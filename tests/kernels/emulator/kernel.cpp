/* The kernel's text itself, compiled for the emulator: -DKERNEL='"mma.cu"' and the macros that mma.cu is given. */
#define BC_EMULATE 1
#include "emulator.h"
#include KERNEL

void tile_of_group(uint32_t group, uint32_t tiles_m, uint32_t tiles_n, uint32_t tile[2]) {
    Tile found = tile_of(group, tiles_m, tiles_n);
    tile[0] = found.m, tile[1] = found.n;
}
