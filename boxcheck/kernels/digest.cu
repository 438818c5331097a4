/* A digest of a buffer: the sum over its words of mix(word, index) modulo 2^64. Equal bits give equal digests in any
 * order of work, and not-a-numbers are bits like others. */
#define BC_DIGEST_WORDS 4096u

BC_FN u64 bc_digest_word(u32 word, u64 index) {
    u32 low = bc_mix(word ^ bc_mix((u32)index + 0x9e3779b9u * (u32)(index >> 32)));
    return ((u64)bc_mix(low ^ 0x5bd1e995u) << 32) | low;
}

BC_FN u64 bc_group_sum(BC_SHARED_POINTER(u64) sums, u64 mine) {
    u32 span;
    sums[BC_LID] = mine;
    BC_BARRIER();
    for (span = 128u; span > 0u; span /= 2u) {
        if (BC_LID < span) sums[BC_LID] += sums[BC_LID + span];
        BC_BARRIER();
    }
    return sums[0];
}

/* One group sums 4096 words. */
BC_KERNEL(bc_digest)(BC_G const u32 *in, u64 words, BC_G u64 *parts) {
    BC_SHARED u64 sums[256];
    u64 sum = 0u, total;
    u32 step;
    for (step = 0u; step < BC_DIGEST_WORDS; step += 256u) {
        u64 at = (u64)BC_GROUP * BC_DIGEST_WORDS + step + BC_LID;
        if (at < words) sum += bc_digest_word(in[at], at);
    }
    total = bc_group_sum(sums, sum);
    if (BC_LID == 0u) parts[BC_GROUP] = total;
}

/* The same, and leaves `fill` in every word: what is digested next was written since. */
BC_KERNEL(bc_digest_fill)(BC_G u32 *data, u64 words, u32 fill, BC_G u64 *parts) {
    BC_SHARED u64 sums[256];
    u64 sum = 0u, total;
    u32 step;
    for (step = 0u; step < BC_DIGEST_WORDS; step += 256u) {
        u64 at = (u64)BC_GROUP * BC_DIGEST_WORDS + step + BC_LID;
        if (at < words) {
            sum += bc_digest_word(data[at], at);
            data[at] = fill;
        }
    }
    total = bc_group_sum(sums, sum);
    if (BC_LID == 0u) parts[BC_GROUP] = total;
}

/* Adds the parts into out[slot]; one group. */
BC_KERNEL(bc_digest_total)(BC_G const u64 *parts, u32 count, BC_G u64 *out, u32 slot) {
    BC_SHARED u64 sums[256];
    u64 sum = 0u, total;
    u32 at;
    for (at = BC_LID; at < count; at += 256u) sum += parts[at];
    total = bc_group_sum(sums, sum);
    if (BC_LID == 0u) out[slot] = total;
}
