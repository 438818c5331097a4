// "The machine" of boxcheck/kernels/wmma.cu, for the host: each work-item is a fiber, and whatever it does to memory or
// with its wave goes through machine.cpp, which knows nothing of the kernel.

#pragma once

#define BC_INLINE static inline
#define BC_KERNEL extern "C"
#define BC_UNROLL

unsigned item_of_fiber();
unsigned group_of_fiber();
unsigned uniform(unsigned x);
void barrier();
const char *global_read(const char *base, unsigned offset, unsigned bytes);
void global_write(const void *to, const void *from);
char *lds(unsigned byte, unsigned bytes, unsigned size, bool writes);
void wmma(int gfx, int element, const unsigned *a, const unsigned *b, unsigned *sums);

typedef const char *bc_origin;

BC_INLINE bc_u32 bc_item() { return item_of_fiber(); }
BC_INLINE bc_u32 bc_group() { return group_of_fiber(); }
BC_INLINE bc_u32 bc_uniform(bc_u32 x) { return uniform(x); }
BC_INLINE void bc_barrier() { barrier(); }

// V_PERM_B32 (RDNA3 ISA, VOP3): byte i of the result is byte sel[8i+7:8i] of {S0, S1}, S1 being the low half.
BC_INLINE bc_u32 bc_permute(bc_u32 high, bc_u32 low, bc_u32 selector) {
    bc_u64 both = (bc_u64)high << 32 | low;
    bc_u32 result = 0;
    for (int i = 0; i < 4; ++i) result |= (bc_u32)(both >> (selector >> 8 * i & 7) * 8 & 255) << 8 * i;
    return result;
}

template <typename T>
BC_INLINE T bc_read(bc_origin base, bc_u32 &offset) {
    T got;
    __builtin_memcpy(&got, global_read(base, offset, sizeof(T)), sizeof(T));
    return got;
}
BC_INLINE void bc_write(bc_out *to, bc_out x) { global_write(to, &x); }

BC_INLINE bc_u32x4 bc_lds_read(bc_u32 byte) {
    bc_u32x4 got;
    __builtin_memcpy(&got, lds(byte, sizeof(got), 2 * BC_BUFFER, false), sizeof(got));
    return got;
}
template <typename T>
BC_INLINE void bc_lds_write(bc_u32 byte, T x) {
    __builtin_memcpy(lds(byte, sizeof(T), 2 * BC_BUFFER, true), &x, sizeof(T));
}

BC_INLINE bc_sums bc_wmma(bc_fragment a, bc_fragment b, bc_sums c) {
    unsigned words_a[8] = {}, words_b[8] = {}, sums[8];
    __builtin_memcpy(words_a, &a, sizeof(a));
    __builtin_memcpy(words_b, &b, sizeof(b));
    __builtin_memcpy(sums, &c, sizeof(c));
    wmma(BC_GFX, BC_ELEMENT, words_a, words_b, sums);
    __builtin_memcpy(&c, sums, sizeof(c));
    return c;
}
