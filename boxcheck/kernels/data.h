/* Data that is a function of its place: any element can be made again, anywhere, to be compared. */

/* A bijection of 32-bit words that spreads every bit (constants found by search: C. Wellons, "prospecting for hash
 * functions", 2018). */
BC_FN u32 bc_mix(u32 x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

/* One hash of a matrix element: row i, depth k; side is 0 for A, 1 for B, and keeps a row of A from being one of B
 * whatever the seeds. */
BC_FN u32 bc_element_hash(u32 seed, u32 side, u32 i, u32 k) {
    return bc_mix((k ^ bc_mix(i + seed)) + side * 0x9e3779b9u);
}

/* Odd weight of column j. */
BC_FN u32 bc_weight(u32 seed, u32 j) { return bc_mix(j ^ seed) | 1u; }

#define BC_FP32 0
#define BC_TF32 1
#define BC_FP16 2
#define BC_BF16 3
#define BC_INT8 4
#define BC_E4M3 5

#ifdef BC_ELEMENT

#if BC_ELEMENT == BC_INT8 || BC_ELEMENT == BC_E4M3
#define BC_PER_WORD 4u
#elif BC_ELEMENT == BC_FP16 || BC_ELEMENT == BC_BF16
#define BC_PER_WORD 2u
#else
#define BC_PER_WORD 1u
#endif
#define BC_ELEMENT_BITS (32u / BC_PER_WORD)
#define BC_ELEMENT_MASK (0xffffffffu >> (32u - BC_ELEMENT_BITS))

/* The integer that an element of exact data holds: |v| <= BC_EVEN or BC_ODD, by the parity of k and of the side. */
BC_FN i32 bc_exact(u32 seed, u32 side, u32 i, u32 k) {
    u32 h = bc_element_hash(seed, side, i, k);
#if BC_ELEMENT == BC_INT8
    return (i32)(h >> 24) - 128;
#else
    u32 most = ((k ^ side) & 1u) ? BC_ODD : BC_EVEN;
    return (i32)(((u64)h * (2u * most + 1u)) >> 32) - (i32)most;
#endif
}

/* Bits of fp32 to the element's, cut off behind its mantissa. Zero or a normal number of the element's type. */
BC_FN u32 bc_narrow(u32 bits) {
    u32 sign = bits >> 31, rest = bits & 0x7fffffffu;
#if BC_ELEMENT == BC_FP16
    return (sign << 15) | (rest ? (rest - (112u << 23)) >> 13 : 0u);
#elif BC_ELEMENT == BC_BF16
    return bits >> 16;
#elif BC_ELEMENT == BC_E4M3
    return (sign << 7) | (rest ? (rest - (120u << 23)) >> 20 : 0u);
#elif BC_ELEMENT == BC_TF32
    return bits & 0xffffe000u;
#else
    return bits;
#endif
}

/* The element's bits back to fp32. */
BC_FN float bc_widen(u32 bits) {
#if BC_ELEMENT == BC_FP16
    u32 rest = bits & 0x7fffu;
    return bc_float(((bits >> 15) << 31) | (rest ? (rest << 13) + (112u << 23) : 0u));
#elif BC_ELEMENT == BC_BF16
    return bc_float(bits << 16);
#elif BC_ELEMENT == BC_E4M3
    u32 rest = bits & 0x7fu;
    return bc_float(((bits >> 7) << 31) | (rest ? (rest << 20) + (120u << 23) : 0u));
#else
    return bc_float(bits);
#endif
}

/* Bits of an element: exact data, or (random) every mantissa with magnitudes from 1/8 up to 2. */
BC_FN u32 bc_element(u32 seed, u32 side, u32 i, u32 k, u32 random) {
#if BC_ELEMENT == BC_INT8
    return (u32)bc_exact(seed, side, i, k) & 0xffu;
#else
    if (random) {
        u32 h = bc_element_hash(seed, side, i, k);
        return bc_narrow((h & 0x807fffffu) | ((124u + ((h >> 23) & 3u)) << 23));
    }
    return bc_narrow(bc_bits((float)bc_exact(seed, side, i, k)));
#endif
}

/* The 32-bit word `w` of a matrix of rows x depth: outer = 0 is [row][k], outer = 1 is [k][row]. */
BC_FN u32 bc_matrix_word(u64 w, u32 rows, u32 depth, u32 seed, u32 side, u32 random, u32 outer) {
    u32 across = (outer ? rows : depth) / BC_PER_WORD, word = 0u, part;
    u32 slow = (u32)(w / across), fast = (u32)(w % across) * BC_PER_WORD;
    for (part = 0u; part < BC_PER_WORD; part++) {
        u32 i = outer ? fast + part : slow, k = outer ? slow : fast + part;
        word |= bc_element(seed, side, i, k, random) << (part * BC_ELEMENT_BITS & 31u);
    }
    return word;
}

#endif
