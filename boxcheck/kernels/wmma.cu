// Matrix product on the WMMA units of RDNA3 (gfx11) and RDNA4 (gfx12): C[i][j] = sum over k of A[k][i] * B[k][j].
//
// A and B of fp16, bf16, int8 or e4m3 lie k-outer: A is [k][m], B is [k][n]. C is [m][n] of fp32; of int32 modulo 2^32
// for int8. m, n, k are multiples of BC_TILE_M, BC_TILE_N, BC_STEP_K, not 0, m and n below 2^25; A, B, C are aligned to
// 16 bytes.
//
// A work-group makes one tile of C, a wave of 32 lanes 64 x 64 of it as 4 x 4 results of 16 x 16. Data goes from global
// memory into registers (two steps of k ahead), from there into LDS (one step ahead: two buffers, one barrier a step),
// from there into fragments, 16 bytes at once. WMMA wants neighbouring k of a row side by side, k-outer matrices have
// neighbouring rows side by side: work-items turn blocks of 4 k between the two, by byte permutations.
//
// Defines: BC_GFX 11 or 12; BC_ELEMENT 2 fp16, 3 bf16, 4 int8, 5 e4m3 (gfx12); BC_TILE_M and BC_TILE_N, multiples of
// 64; BC_BAND, how many tiles of m are done side by side, for the sake of L2.
//
// Header-free, for hiprtc and bare clang. Where BC_EMULATE names a header, that is the machine, and the rest is plain
// C++ for the host (tests/kernels/wmma).

#if BC_GFX != 11 && BC_GFX != 12
#error "BC_GFX must be 11 or 12"
#endif
#if (defined(__GFX11__) && BC_GFX != 11) || (defined(__GFX12__) && BC_GFX != 12)
#error "BC_GFX is not the family that is compiled for"
#endif
#if BC_ELEMENT < 2 || BC_ELEMENT > 5 || (BC_ELEMENT == 5 && BC_GFX == 11)
#error "this family has no WMMA for this element"
#endif

typedef unsigned int bc_u32;
typedef unsigned long long bc_u64;
typedef bc_u32 bc_u32x2 __attribute__((vector_size(8)));
typedef bc_u32 bc_u32x4 __attribute__((vector_size(16)));
typedef bc_u32 bc_u32x8 __attribute__((vector_size(32)));

// A word is 4 bytes: BC_PACK neighbouring k of one row of A, or of one column of B (a "row" here too). A step is 8
// words of k: in LDS two slots of 4 words for each row.
constexpr int BC_BYTES = BC_ELEMENT <= 3 ? 2 : 1;
constexpr int BC_PACK = 4 / BC_BYTES;
constexpr int BC_STEP_K = 8 * BC_PACK;
constexpr int BC_DEPTHS = BC_STEP_K / 16;  // WMMA takes 16 k
constexpr int BC_WAVES_N = BC_TILE_N / 64;
constexpr int BC_THREADS = 32 * (BC_TILE_M / 64) * BC_WAVES_N;
// LDS has a gap of a slot after every 8 rows. What lanes write together lies 4 or 8 rows apart, and so meets all 32
// banks once; what they read together, 16 bytes of 8 rows, does in any case.
constexpr int BC_SLOTS_A = BC_TILE_M / 8 * 9 * 16;  // bytes of one slot of all rows
constexpr int BC_SLOTS_B = BC_TILE_N / 8 * 9 * 16;
constexpr int BC_BUFFER = 2 * BC_SLOTS_A + 2 * BC_SLOTS_B;

#if BC_GFX == 11 && BC_ELEMENT <= 3
typedef bc_u32x8 bc_fragment;
#elif BC_GFX == 11 || BC_ELEMENT <= 3
typedef bc_u32x4 bc_fragment;
#else
typedef bc_u32x2 bc_fragment;
#endif
#if BC_ELEMENT == 4
typedef int bc_out;
#else
typedef float bc_out;
#endif
typedef bc_out bc_sums __attribute__((vector_size(32)));

// ---- the machine ----------------------------------------------------------------------------------------------------

#ifdef BC_EMULATE
#include BC_EMULATE
#else

#ifndef __global__
#define __global__ __attribute__((global))
#endif
#ifndef __device__
#define __device__ __attribute__((device))
#endif
#ifndef __shared__
#define __shared__ __attribute__((shared))
#endif
#define BC_INLINE static inline __attribute__((always_inline)) __device__
#define BC_UNROLL _Pragma("unroll")
// Two SIMDs of 1536 registers have room for 16 waves of 192: two groups of eight waves, if they keep within that.
#if BC_TILE_M * BC_TILE_N > 128 * 128
#define BC_LIMIT __attribute__((amdgpu_num_vgpr(192)))
#else
#define BC_LIMIT
#endif
#define BC_KERNEL extern "C" __global__ __attribute__((amdgpu_flat_work_group_size(BC_THREADS, BC_THREADS))) BC_LIMIT

static __shared__ bc_u32x4 bc_lds[2 * BC_BUFFER / 16];

BC_INLINE bc_u32 bc_item() { return __builtin_amdgcn_workitem_id_x(); }
BC_INLINE bc_u32 bc_group() { return __builtin_amdgcn_workgroup_id_x(); }
// A number that is the same in all lanes, put into a scalar register.
BC_INLINE bc_u32 bc_uniform(bc_u32 x) { return (bc_u32)__builtin_amdgcn_readfirstlane((int)x); }

// Four bytes out of eight: 0-3 in a byte of the selector name those of `low`, 4-7 those of `high` (V_PERM_B32).
BC_INLINE bc_u32 bc_permute(bc_u32 high, bc_u32 low, bc_u32 selector) {
    return __builtin_amdgcn_perm(high, low, selector);
}

// What the group did with LDS before is done for all after. Loads from global memory stay in flight: hence no builtins,
// at which the compiler waits for those too.
BC_INLINE void bc_barrier() {
    __builtin_amdgcn_sched_barrier(0);
#if BC_GFX == 11
    asm volatile("s_waitcnt lgkmcnt(0)\n\ts_barrier" ::: "memory");
#else
    asm volatile("s_wait_dscnt 0x0\n\ts_barrier_signal -1\n\ts_barrier_wait -1" ::: "memory");
#endif
}

// The matrices, in the address space where scalar registers hold the base of a load and a vector register 32 bits more.
// The compiler would add all up in vector registers; empty assembler between base and offset keeps it from that.
typedef const __attribute__((address_space(1))) char* bc_origin;
template <typename T>
BC_INLINE T bc_read(bc_origin base, bc_u32& offset) {
    asm("" : "+s"(base));
    asm("" : "+v"(offset));
    return *(const __attribute__((address_space(1))) T*)(base + offset);
}
BC_INLINE void bc_write(bc_out* to, bc_out x) { *to = x; }
BC_INLINE bc_u32x4 bc_lds_read(bc_u32 byte) { return *(const bc_u32x4*)((const char*)bc_lds + byte); }
template <typename T>
BC_INLINE void bc_lds_write(bc_u32 byte, T x) { *(T*)((char*)bc_lds + byte) = x; }

#if BC_GFX == 11
#define BC_WMMA(x) __builtin_amdgcn_wmma_##x##_w32
#else
#define BC_WMMA(x) __builtin_amdgcn_wmma_##x##_w32_gfx12
#endif

BC_INLINE bc_sums bc_wmma(bc_fragment a, bc_fragment b, bc_sums c) {
#if BC_ELEMENT == 2
    typedef _Float16 operand __attribute__((vector_size(sizeof(bc_fragment))));
    return BC_WMMA(f32_16x16x16_f16)((operand)a, (operand)b, c);
#elif BC_ELEMENT == 3
    typedef short operand __attribute__((vector_size(sizeof(bc_fragment))));
    return BC_WMMA(f32_16x16x16_bf16)((operand)a, (operand)b, c);
#elif BC_ELEMENT == 4
    typedef int operand __attribute__((vector_size(sizeof(bc_fragment))));
    return BC_WMMA(i32_16x16x16_iu8)(true, (operand)a, true, (operand)b, c, false);
#else
    typedef int operand __attribute__((vector_size(sizeof(bc_fragment))));
    return BC_WMMA(f32_16x16x16_fp8_fp8)((operand)a, (operand)b, c);
#endif
}

#endif

// ---- the way of the data --------------------------------------------------------------------------------------------

// Which word of k of a step is word `word` of slot `slot`. A fragment of gfx11 is both slots, one after the other, in
// lanes 0-15 and again in lanes 16-31. On gfx12 lanes 0-15 take slot 0, lanes 16-31 slot 1, and k changes between them
// every two words: 4 k of 16 bits, 8 k of 8 bits. (github.com/ROCm/amd_matrix_instruction_calculator, RDNA3 and RDNA4,
// "matrix element to register mapping".)
BC_INLINE bc_u32 bc_word_of_k(bc_u32 slot, bc_u32 word) {
    return BC_GFX == 11 ? 4 * slot + word : word / 2 * 4 + 2 * slot + word % 2;
}

// Where a row lies among the slots of all rows, in bytes.
BC_INLINE bc_u32 bc_place(bc_u32 row) { return 16 * (row + row / 8); }

// What one work-item brings of a matrix, of W rows in a tile, in one step: 4 neighbouring k of ROWS neighbouring rows.
template <int W>
struct bc_share {
    static constexpr int WORDS = 4 / BC_PACK;              // that 4 k become, of each row
    static constexpr int ACROSS = BC_THREADS * WORDS / 8;  // work-items with the same k
    static constexpr int ROWS = W / ACROSS;
    static constexpr int HELD = ROWS * BC_BYTES / 4;       // registers of one k
    static_assert(ROWS * ACROSS == W && (HELD == 1 || HELD == 2), "4 or 8 bytes are read at once");
    bc_u32 from;  // where they begin, in bytes from the tile's first element
    bc_u32 to;    // where they go in LDS
    bc_u32 held[4][HELD];
};

// Neighbouring work-items fill the words of a slot, the next ones go on by rows. `bytes` are those of one k of the
// matrix.
template <int W>
BC_INLINE void bc_aim(bc_share<W>& share, bc_u32 bytes, bc_u32 start) {
    typedef bc_share<W> S;
    bc_u32 word = bc_item() % (4 / S::WORDS) * S::WORDS;
    bc_u32 row = bc_item() / (4 / S::WORDS) % S::ACROSS * S::ROWS;
    bc_u32 slot = bc_item() / (4 / S::WORDS) / S::ACROSS;
    share.from = bc_word_of_k(slot, word) * BC_PACK * bytes + row * BC_BYTES;
    share.to = start + slot * (W / 8 * 9 * 16) + bc_place(row) + 4 * word;
}

// Starts to read. `origin` is the first element of the tile in this step, the same for all.
template <int W>
BC_INLINE void bc_fetch(bc_share<W>& share, bc_origin origin, bc_u32 bytes) {
    BC_UNROLL
    for (int i = 0; i < 4; ++i) {
        if (bc_share<W>::HELD == 1) {
            share.held[i][0] = bc_read<bc_u32>(origin + (bc_u64)bytes * i, share.from);
        } else {
            bc_u32x2 got = bc_read<bc_u32x2>(origin + (bc_u64)bytes * i, share.from);
            share.held[i][0] = got[0];
            share.held[i][bc_share<W>::HELD - 1] = got[1];
        }
    }
}

// Turns what was read, so that k are side by side, and puts it into LDS.
template <int W>
BC_INLINE void bc_keep(const bc_share<W>& share) {
    BC_UNROLL
    for (int i = 0; i < bc_share<W>::HELD; ++i) {
        bc_u32 k0 = share.held[0][i], k1 = share.held[1][i], k2 = share.held[2][i], k3 = share.held[3][i];
#if BC_ELEMENT <= 3
        bc_u32x2 even = {bc_permute(k1, k0, 0x05040100), bc_permute(k3, k2, 0x05040100)};
        bc_u32x2 odd = {bc_permute(k1, k0, 0x07060302), bc_permute(k3, k2, 0x07060302)};
        bc_lds_write(share.to + bc_place(2 * i), even);
        bc_lds_write(share.to + bc_place(2 * i + 1), odd);
#else
        bc_u32 low01 = bc_permute(k1, k0, 0x05010400), low23 = bc_permute(k3, k2, 0x05010400);
        bc_u32 high01 = bc_permute(k1, k0, 0x07030602), high23 = bc_permute(k3, k2, 0x07030602);
        bc_lds_write(share.to + bc_place(4 * i), bc_permute(low23, low01, 0x05040100));
        bc_lds_write(share.to + bc_place(4 * i + 1), bc_permute(low23, low01, 0x07060302));
        bc_lds_write(share.to + bc_place(4 * i + 2), bc_permute(high23, high01, 0x05040100));
        bc_lds_write(share.to + bc_place(4 * i + 3), bc_permute(high23, high01, 0x07060302));
#endif
    }
}

// The fragments of 16 rows, for all k of the step. `from` is where this lane's row begins.
BC_INLINE void bc_gather(bc_fragment (&to)[BC_DEPTHS], bc_u32 from, bc_u32 slots) {
    bc_u32x4 first = bc_lds_read(from);
#if BC_GFX == 11
    bc_u32x4 second = bc_lds_read(from + slots);
#if BC_ELEMENT <= 3
    bc_fragment both = {first[0], first[1], first[2], first[3], second[0], second[1], second[2], second[3]};
    to[0] = both;
#else
    to[0] = first;
    to[1] = second;
#endif
#elif BC_ELEMENT <= 3
    to[0] = first;
#else
    bc_fragment low = {first[0], first[1]}, high = {first[2], first[3]};
    to[0] = low;
    to[1] = high;
#endif
}

BC_KERNEL void bc_wmma_product(const void* a, const void* b, void* c, bc_u32 m, bc_u32 n, bc_u32 k) {
    // Bands of BC_BAND tiles of m, and down each column of tiles of a band: groups that run at the same time read few
    // different parts of A and B.
    bc_u32 tiles_m = m / BC_TILE_M, tiles_n = n / BC_TILE_N;
    bc_u32 band = bc_group() / (BC_BAND * tiles_n), within = bc_group() % (BC_BAND * tiles_n);
    bc_u32 left = tiles_m - band * BC_BAND, height = left < BC_BAND ? left : BC_BAND;
    bc_u32 first_m = bc_uniform(band * BC_BAND + within % height) * BC_TILE_M;
    bc_u32 first_n = bc_uniform(within / height) * BC_TILE_N;

    bc_u32 steps = k / BC_STEP_K, bytes_a = m * BC_BYTES, bytes_b = n * BC_BYTES;
    bc_u64 stride_a = (bc_u64)bytes_a * BC_STEP_K, stride_b = (bc_u64)bytes_b * BC_STEP_K;
    bc_origin next_a = (bc_origin)a + (bc_u64)first_m * BC_BYTES, next_b = (bc_origin)b + (bc_u64)first_n * BC_BYTES;
    bc_share<BC_TILE_M> share_a;
    bc_share<BC_TILE_N> share_b;
    bc_aim(share_a, bytes_a, 0);
    bc_aim(share_b, bytes_b, 2 * BC_SLOTS_A);
    bc_fetch(share_a, next_a, bytes_a);
    bc_fetch(share_b, next_b, bytes_b);
    bc_keep(share_a);
    bc_keep(share_b);
    if (steps > 1) { next_a += stride_a; next_b += stride_b; }
    bc_fetch(share_a, next_a, bytes_a);
    bc_fetch(share_b, next_b, bytes_b);
    bc_barrier();

    bc_u32 wave = bc_item() / 32, lane = bc_item() % 32;
    bc_u32 wave_m = wave / BC_WAVES_N * 64, wave_n = wave % BC_WAVES_N * 64;
    bc_u32 from_a = bc_place(wave_m + lane % 16), from_b = 2 * BC_SLOTS_A + bc_place(wave_n + lane % 16);
    if (BC_GFX == 12) {
        from_a += lane / 16 * BC_SLOTS_A;
        from_b += lane / 16 * BC_SLOTS_B;
    }
    bc_sums sums[4][4] = {};
    bc_u32 other = BC_BUFFER;  // how far the other buffer is
    for (bc_u32 step = 0; step < steps; ++step) {
        share_a.to += other;
        share_b.to += other;
        bc_keep(share_a);
        bc_keep(share_b);
        // At the end the last step is read again, for nobody: no branch, and nothing out of bounds.
        if (step + 2 < steps) { next_a += stride_a; next_b += stride_b; }
        bc_fetch(share_a, next_a, bytes_a);
        bc_fetch(share_b, next_b, bytes_b);

        bc_fragment rows[4][BC_DEPTHS], columns[4][BC_DEPTHS];
        BC_UNROLL
        for (int i = 0; i < 4; ++i) {
            bc_gather(rows[i], from_a + bc_place(16 * i), BC_SLOTS_A);
            bc_gather(columns[i], from_b + bc_place(16 * i), BC_SLOTS_B);
        }
        BC_UNROLL
        for (int depth = 0; depth < BC_DEPTHS; ++depth) {
            BC_UNROLL
            for (int i = 0; i < 4; ++i) {
                BC_UNROLL
                for (int j = 0; j < 4; ++j) sums[i][j] = bc_wmma(rows[i][depth], columns[j][depth], sums[i][j]);
            }
        }
        from_a += other;
        from_b += other;
        other = 0 - other;
        bc_barrier();
    }

    // Result v of a lane is of column lane % 16, and of row 2 v + lane / 16 on gfx11, v + lane / 16 * 8 on gfx12 (there
    // too).
    bc_u32 row = first_m + wave_m + lane / 16 * (BC_GFX == 11 ? 1 : 8);
    bc_out* to = (bc_out*)c + (bc_u64)row * n + (first_n + wave_n + lane % 16);
    BC_UNROLL
    for (int i = 0; i < 4; ++i) {
        BC_UNROLL
        for (int v = 0; v < 8; ++v) {
            bc_u64 down = (bc_u64)n * (16 * i + v * (BC_GFX == 11 ? 2 : 1));
            BC_UNROLL
            for (int j = 0; j < 4; ++j) bc_write(to + down + 16 * j, sums[i][j][v]);
        }
    }
}
