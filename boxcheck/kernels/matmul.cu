/* The portable product: C[i][j] = sum over k of A[i][k] * B[j][k], both inputs k-major, C of fp32 (int32 for int8).
 *
 * A tile of 64 x 64 a group, 4 x 4 a work-item, 16 deep. It is the witness that tuned kernels are compared with, and what
 * runs where no tuned kernel does; m and n are multiples of 64, k of 16. */
#if BC_ELEMENT == BC_INT8
typedef i32 bc_sum;
#define BC_VALUE(bits) ((i32)((bits) ^ 0x80u) - 128)
#else
typedef float bc_sum;
#define BC_VALUE(bits) bc_widen(bits)
#endif

BC_KERNEL(bc_matmul)(BC_G const u32 *a, BC_G const u32 *b, BC_G bc_sum *c, u32 m, u32 n, u32 k) {
    BC_SHARED bc_sum tile_a[16][68];
    BC_SHARED bc_sum tile_b[16][68];
    bc_sum sums[4][4];
    u32 across = n / 64u, row0 = BC_GROUP / across * 64u, column0 = BC_GROUP % across * 64u;
    u32 y = BC_LID / 16u, x = BC_LID % 16u, words = k / BC_PER_WORD, i, j, d, step, w, part;
    for (i = 0u; i < 4u; i++)
        for (j = 0u; j < 4u; j++) sums[i][j] = 0;
    for (step = 0u; step < k; step += 16u) {
        for (w = BC_LID; w < 64u * 16u / BC_PER_WORD; w += 256u) {
            u32 row = w / (16u / BC_PER_WORD), word = w % (16u / BC_PER_WORD);
            u64 at = step / BC_PER_WORD + word;
            u32 from_a = a[(u64)(row0 + row) * words + at], from_b = b[(u64)(column0 + row) * words + at];
            for (part = 0u; part < BC_PER_WORD; part++) {
                u32 shift = part * BC_ELEMENT_BITS & 31u;
                tile_a[word * BC_PER_WORD + part][row] = BC_VALUE((from_a >> shift) & BC_ELEMENT_MASK);
                tile_b[word * BC_PER_WORD + part][row] = BC_VALUE((from_b >> shift) & BC_ELEMENT_MASK);
            }
        }
        BC_BARRIER();
        for (d = 0u; d < 16u; d++)
            for (i = 0u; i < 4u; i++)
                for (j = 0u; j < 4u; j++) sums[i][j] += tile_a[d][y * 4u + i] * tile_b[d][x * 4u + j];
        BC_BARRIER();
    }
    for (i = 0u; i < 4u; i++)
        for (j = 0u; j < 4u; j++) c[(u64)(row0 + y * 4u + i) * n + column0 + x * 4u + j] = sums[i][j];
}
