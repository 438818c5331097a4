/* What mma.cu takes from the GPU, for a processor. Included before the kernel's text, which is compiled with BC_EMULATE.
 *
 * Every thread of a group is a fiber. Instructions that a warp does together (and copies and stores, whose cost depends
 * on what the lanes do together) stop the fiber until all 32 lanes have come to the same instruction; `emulator.cpp`
 * then does it for the warp. Written from the PTX ISA, not from the kernel. */
#pragma once
#include "operation.h"

#define INLINE static inline
#define __global__
#define __launch_bounds__(...)

INLINE uint32_t thread_index() { return emulated_thread(); }
INLINE uint32_t group_index() { return emulated_group(); }
INLINE uint32_t shared_base() { return emulated_shared_base(); }

INLINE void barrier() {
    Operation operation = {BARRIER};
    emulate(operation);
}

INLINE void cp_async_16(uint32_t to, const char *from, bool wanted) {
    Operation operation = {COPY};
    operation.at = to, operation.from = from, operation.wanted = wanted;
    emulate(operation);
}

INLINE void cp_commit() {
    Operation operation = {COMMIT};
    emulate(operation);
}

template <uint32_t pending> INLINE void cp_wait() {
    Operation operation = {WAIT};
    operation.pending = pending;
    emulate(operation);
}

INLINE void ldmatrix_x4(uint32_t &r0, uint32_t &r1, uint32_t &r2, uint32_t &r3, uint32_t at) {
    Operation operation = {LDMATRIX_X4};
    operation.at = at;
    emulate(operation);
    r0 = operation.d[0], r1 = operation.d[1], r2 = operation.d[2], r3 = operation.d[3];
}

/* Sums in registers of 32 bits each, whatever they are: fp32 or int32. */
template <typename T> INLINE void mma(T (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const T (&c)[4]) {
    static_assert(sizeof(T) == 4, "registers");
    Operation operation = {MMA, (Element)ELEMENT};
    memcpy(operation.a, a, sizeof a);
    memcpy(operation.b, b, sizeof b);
    memcpy(operation.c, c, sizeof c);
    emulate(operation);
    memcpy(d, operation.d, sizeof d);
}

template <typename T> INLINE void store_2(T *to, T x, T y) {
    Operation operation = {STORE};
    operation.to = to;
    memcpy(&operation.c[0], &x, 4);
    memcpy(&operation.c[1], &y, 4);
    emulate(operation);
}
