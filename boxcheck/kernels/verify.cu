/* Makes and verifies matrices and products.
 *
 * Exact data makes every sum an integer, so a product has one right answer. It is known by its weighted row sums
 * y_i = sum_j C_ij r_j and z_i = sum_j C_ij s_j modulo 2^64, which A (B r) gives in O(n^2) without the product and
 * without the stored inputs: A and B are made again from their seeds. r and s are odd, so one wrong element of a row is
 * always seen; two sums name its column. */

BC_KERNEL(bc_fill_matrix)(BC_G u32 *out, u32 rows, u32 depth, u32 seed, u32 side, u32 random, u32 outer) {
    u64 w = (u64)BC_GROUP * 256u + BC_LID, words = (u64)rows * depth / BC_PER_WORD;
    if (w < words) out[w] = bc_matrix_word(w, rows, depth, seed, side, random, outer);
}

/* Compares a stored matrix with what it must be. */
BC_KERNEL(bc_check_matrix)(
    BC_G volatile u32 *stored, u32 rows, u32 depth, u32 seed, u32 side, u32 random, u32 outer, BC_G volatile u32 *errors,
    u32 most) {
    u64 w = (u64)BC_GROUP * 256u + BC_LID, words = (u64)rows * depth / BC_PER_WORD;
    if (w < words) {
        u32 expected = bc_matrix_word(w, rows, depth, seed, side, random, outer), found = stored[w];
        if (found != expected) {
            u32 r = BC_COUNT(&errors[0]);
            if (r < most) {
                BC_G volatile u32 *record = &errors[BC_RECORD(r)];
                record[0] = (u32)w;
                record[1] = (u32)(w >> 32);
                record[2] = expected;
                record[3] = found;
                record[4] = stored[w];
                record[5] = 0u;
            }
        }
    }
}

/* t_k = sum_j B(j,k) r_j, u_k = sum_j B(j,k) s_j. One work-item a k. */
BC_KERNEL(bc_fold_b)(BC_G u64 *t, BC_G u64 *u, u32 n, u32 k, u32 seed_b, u32 seed_r, u32 seed_s) {
    u32 d = BC_GROUP * 256u + BC_LID, j;
    if (d < k) {
        u64 first = 0u, second = 0u;
        for (j = 0u; j < n; j++) {
            i64 value = bc_exact(seed_b, 1u, j, d);
            first += (u64)(value * (i64)bc_weight(seed_r, j));
            second += (u64)(value * (i64)bc_weight(seed_s, j));
        }
        t[d] = first;
        u[d] = second;
    }
}

/* y_i = sum_k A(i,k) t_k, z_i = sum_k A(i,k) u_k. One work-item a row. */
BC_KERNEL(bc_fold_a)(BC_G u64 *y, BC_G u64 *z, BC_G const u64 *t, BC_G const u64 *u, u32 m, u32 k, u32 seed_a) {
    u32 i = BC_GROUP * 256u + BC_LID, d;
    if (i < m) {
        u64 first = 0u, second = 0u;
        for (d = 0u; d < k; d++) {
            u64 value = (u64)(i64)bc_exact(seed_a, 0u, i, d);
            first += value * t[d];
            second += value * u[d];
        }
        y[i] = first;
        z[i] = second;
    }
}

/* Sums the rows of a stored product and compares them. One group a row. A wrong row's record: row, how many of its
 * elements are no integers below 2^24 (NaN, infinity, fractions), then the differences of the two sums; eight words at
 * [4 + 8 r]. */
BC_KERNEL(bc_check_rows)(
    BC_G const u32 *c, BC_G const u64 *y, BC_G const u64 *z, u32 n, u32 seed_r, u32 seed_s, BC_G volatile u32 *errors,
    u32 most) {
    BC_SHARED u64 firsts[256];
    BC_SHARED u64 seconds[256];
    BC_SHARED u32 odd[256];
    u64 first = 0u, second = 0u;
    u32 row = BC_GROUP, j, span, inexact = 0u;
    for (j = BC_LID; j < n; j += 256u) {
        u32 bits = c[(u64)row * n + j];
#if BC_ELEMENT == BC_INT8
        i64 value = (i32)bits;
#else
        float real = bc_float(bits);
        i64 value = 0;
        if (real >= -16777216.0f && real <= 16777216.0f && (float)(i32)real == real) value = (i32)real;
        else inexact++;
#endif
        first += (u64)(value * (i64)bc_weight(seed_r, j));
        second += (u64)(value * (i64)bc_weight(seed_s, j));
    }
    firsts[BC_LID] = first;
    seconds[BC_LID] = second;
    odd[BC_LID] = inexact;
    BC_BARRIER();
    for (span = 128u; span > 0u; span /= 2u) {
        if (BC_LID < span) {
            firsts[BC_LID] += firsts[BC_LID + span];
            seconds[BC_LID] += seconds[BC_LID + span];
            odd[BC_LID] += odd[BC_LID + span];
        }
        BC_BARRIER();
    }
    if (BC_LID == 0u) {
        first = firsts[0] - y[row];
        second = seconds[0] - z[row];
        if (first != 0u || second != 0u || odd[0] != 0u) {
            u32 r = BC_COUNT(&errors[0]);
            if (r < most) {
                BC_G volatile u32 *record = &errors[4u + 8u * r];
                record[0] = row;
                record[1] = odd[0];
                record[2] = (u32)first;
                record[3] = (u32)(first >> 32);
                record[4] = (u32)second;
                record[5] = (u32)(second >> 32);
                record[6] = 0u;
                record[7] = 0u;
            }
        }
    }
}
