/* Memory patterns: written, read back, compared. A granule is 16 bytes; `first` is the number of the buffer's first
 * granule in the whole region under test, so that no two places hold the same address-keyed value in one pass.
 *
 * kind 0: keyed by address: each word is a bijection of its granule's number (low 32 bits), so a wrong word names the
 *         place that it was meant for; the key changes from pass to pass, so an old value shows as old
 * kind 1: the key in every word
 * kind 2: one bit set, walking with the address; kind 3: one bit clear */
#define BC_GRANULES 4u

BC_FN u32x4 bc_pattern(u64 granule, u32 kind, u32 key) {
    u32x4 value;
    if (kind == 0u) {
        u32 m = bc_mix((u32)granule ^ bc_mix((u32)(granule >> 32) ^ key));
        value.x = m;
        value.y = m * 0x9e3779b1u + 0x165667b1u;
        value.z = m * 0x85ebca77u + 0x27d4eb2fu;
        value.w = m * 0xc2b2ae3du + 0x61c88647u;
    } else if (kind == 1u) {
        value.x = key;
        value.y = key;
        value.z = key;
        value.w = key;
    } else {
        u32 from = (u32)granule * 4u + key, flip = kind == 2u ? 0u : 0xffffffffu;
        value.x = (1u << (from & 31u)) ^ flip;
        value.y = (1u << ((from + 1u) & 31u)) ^ flip;
        value.z = (1u << ((from + 2u) & 31u)) ^ flip;
        value.w = (1u << ((from + 3u) & 31u)) ^ flip;
    }
    return value;
}

BC_FN void bc_note(BC_G volatile u32 *errors, u32 most, u64 word, u32 expected, u32 found, u32 again) {
    if (found != expected) {
        u32 r = BC_COUNT(&errors[0]);
        if (r < most) {
            BC_G volatile u32 *record = &errors[BC_RECORD(r)];
            record[0] = (u32)word;
            record[1] = (u32)(word >> 32);
            record[2] = expected;
            record[3] = found;
            record[4] = again;
            record[5] = 0u;
        }
    }
}

/* Notes each wrong word of a granule, and reads it once more past the value that the compiler holds. */
BC_FN void bc_compare(
    BC_G const u32x4 *at, u32x4 expected, u32x4 found, u64 granule, BC_G volatile u32 *errors, u32 most) {
    if (((found.x ^ expected.x) | (found.y ^ expected.y) | (found.z ^ expected.z) | (found.w ^ expected.w)) != 0u) {
        BC_G const volatile u32 *words = (BC_G const volatile u32 *)at;
        bc_note(errors, most, granule * 4u, expected.x, found.x, words[0]);
        bc_note(errors, most, granule * 4u + 1u, expected.y, found.y, words[1]);
        bc_note(errors, most, granule * 4u + 2u, expected.z, found.z, words[2]);
        bc_note(errors, most, granule * 4u + 3u, expected.w, found.w, words[3]);
    }
}

BC_KERNEL(bc_memory_fill)(BC_G u32x4 *memory, u64 first, u64 count, u32 kind, u32 key) {
    u64 base = (u64)BC_GROUP * (256u * BC_GRANULES) + BC_LID;
    u32 step;
    for (step = 0u; step < BC_GRANULES; step++) {
        u64 g = base + step * 256u;
        if (g < count) memory[g] = bc_pattern(first + g, kind, key);
    }
}

/* All loads of a work-item are under way before the first value is used: one load in flight for each work-item leaves
 * fast memory waiting. */
BC_KERNEL(bc_memory_check)(
    BC_G const u32x4 *memory, u64 first, u64 count, u32 kind, u32 key, BC_G volatile u32 *errors, u32 most) {
    u64 base = (u64)BC_GROUP * (256u * BC_GRANULES) + BC_LID;
    u32x4 found[BC_GRANULES];
    u32 step;
    _Pragma("unroll")
    for (step = 0u; step < BC_GRANULES; step++) {
        u64 g = base + step * 256u;
        if (g < count) found[step] = memory[g];
    }
    _Pragma("unroll")
    for (step = 0u; step < BC_GRANULES; step++) {
        u64 g = base + step * 256u;
        if (g < count) bc_compare(&memory[g], bc_pattern(first + g, kind, key), found[step], first + g, errors, most);
    }
}

/* Compares with one pattern and writes the next over it; from the end to the start where `down` is set. */
BC_KERNEL(bc_memory_check_fill)(
    BC_G u32x4 *memory, u64 first, u64 count, u32 kind, u32 key, u32 next_kind, u32 next_key, u32 down,
    BC_G volatile u32 *errors, u32 most) {
    u64 base = (u64)BC_GROUP * (256u * BC_GRANULES) + BC_LID, at = down ? count - 1u - base : base;
    u64 stride = down ? (u64)0 - 256u : 256u;
    u32x4 found[BC_GRANULES];
    u32 step;
    _Pragma("unroll")
    for (step = 0u; step < BC_GRANULES; step++) {
        if (base + step * 256u < count) found[step] = memory[at + step * stride];
    }
    _Pragma("unroll")
    for (step = 0u; step < BC_GRANULES; step++) {
        if (base + step * 256u < count) {
            bc_compare(&memory[at], bc_pattern(first + at, kind, key), found[step], first + at, errors, most);
            memory[at] = bc_pattern(first + at, next_kind, next_key);
        }
        at += stride;
    }
}

/* A copy by its parts: copied whole, clang reserves scratch memory for it on CDNA. */
BC_FN u32x4 bc_same(u32x4 value) {
    u32x4 same;
    same.x = value.x;
    same.y = value.y;
    same.z = value.z;
    same.w = value.w;
    return same;
}

/* Moves granules by the compute units: what is read or written over a link is decided by whose memory it is. */
BC_KERNEL(bc_copy)(BC_G u32x4 *target, BC_G const u32x4 *source, u64 count) {
    u64 base = (u64)BC_GROUP * (256u * BC_GRANULES) + BC_LID;
    u32 step;
    if (((u64)BC_GROUP + 1u) * (256u * BC_GRANULES) <= count) {
        u32x4 a = source[base], b = source[base + 256u], c = source[base + 512u], d = source[base + 768u];
        target[base] = bc_same(a);
        target[base + 256u] = bc_same(b);
        target[base + 512u] = bc_same(c);
        target[base + 768u] = bc_same(d);
        return;
    }
    for (step = 0u; step < BC_GRANULES; step++) {
        u64 g = base + step * 256u;
        if (g < count) target[g] = source[g];
    }
}

/* target[i] += source[i], modulo 2^32. */
BC_KERNEL(bc_add)(BC_G u32x4 *target, BC_G const u32x4 *source, u64 count) {
    u64 base = (u64)BC_GROUP * (256u * BC_GRANULES) + BC_LID;
    u32 step;
    for (step = 0u; step < BC_GRANULES; step++) {
        u64 g = base + step * 256u;
        if (g < count) {
            u32x4 sum = target[g], more = source[g];
            sum.x += more.x;
            sum.y += more.y;
            sum.z += more.z;
            sum.w += more.w;
            target[g] = sum;
        }
    }
}

/* Compares with sum over r in 0 .. ranks - 1 of the address-keyed pattern of key + r: what an all-reduce must give. */
BC_KERNEL(bc_sum_check)(
    BC_G const u32x4 *memory, u64 first, u64 count, u32 key, u32 ranks, BC_G volatile u32 *errors, u32 most) {
    u64 base = (u64)BC_GROUP * (256u * BC_GRANULES) + BC_LID;
    u32 step, rank;
    for (step = 0u; step < BC_GRANULES; step++) {
        u64 g = base + step * 256u;
        if (g < count) {
            u32x4 sum = bc_pattern(first + g, 0u, key);
            for (rank = 1u; rank < ranks; rank++) {
                u32x4 more = bc_pattern(first + g, 0u, key + rank);
                sum.x += more.x;
                sum.y += more.y;
                sum.z += more.z;
                sum.w += more.w;
            }
            bc_compare(&memory[g], sum, memory[g], first + g, errors, most);
        }
    }
}

/* Follows a chain of indices, one load after the other: time / steps is the latency of a load. */
BC_KERNEL(bc_chase)(BC_G const u32 *chain, u32 steps, BC_G u32 *out) {
    if (BC_LID == 0u && BC_GROUP == 0u) {
        u32 at = 0u, step;
        for (step = 0u; step < steps; step++) at = chain[at];
        out[0] = at;
    }
}
