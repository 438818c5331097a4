/* Matrix product by warp-level tensor instructions: C[i][j] = sum over k of A[i][k] * B[j][k], both inputs k-major.
 *
 * One text for fp16, bf16, tf32, int8 and e4m3, sm_80 and later; no header is needed. The compiler is given
 *   ELEMENT      number of the element in data.h: 1 tf32, 2 fp16, 3 bf16, 4 int8, 5 e4m3
 *   BM BN BK     tile of C that a group makes, and the depth of a step, in elements
 *   WM WN        tile of C that a warp makes
 *   STAGES       steps that lie in shared memory at a time
 *   RASTER       block rows that neighbouring groups share, so that what they read stays in L2
 *   RESIDENT     groups that shall fit on a multiprocessor: the bound for registers
 *   PROMOTE      1: the tensor unit adds up one step, what it made is added to sums in fp32 registers. For units whose
 *                own sums have 14 bits (e4m3 on sm_89): 128 products of |values| <= 11 never leave them
 *
 * All elements share one layout, since fragments are made of 16-byte pieces of rows: a k-step is 32 bytes deep, one
 * ldmatrix.x4 brings a 16-row fragment of A or two 8-row fragments of B (PTX ISA, "Warp Level Matrix Instructions").
 *
 * Every instruction that C++ does not have stands in one small function below. With BC_EMULATE they come from
 * elsewhere, and the rest of this text runs on a processor: tests/kernels/emulator. */
typedef unsigned int u32;
typedef unsigned long long u64;

#if ELEMENT == 1
#define BYTES 4u
#elif ELEMENT == 2 || ELEMENT == 3
#define BYTES 2u
#else
#define BYTES 1u
#endif

#if ELEMENT == 4
typedef int sum_t;
#else
typedef float sum_t;
#endif

#define ROW (BK * BYTES) /* bytes of a row of a tile in shared memory */
#define CHUNKS (ROW / 16u)
#define K_STEPS (ROW / 32u)
#define THREADS (32u * (BM / WM) * (BN / WN))
#define PASS_ROWS (THREADS / CHUNKS) /* rows that the group copies at a time */
#define STAGE_BYTES ((BM + BN) * ROW)
#define M_TILES (WM / 16u)
#define N_TILES (WN / 8u)

static_assert(ROW == 64u || ROW == 128u, "the swizzle is made for rows of 64 or 128 bytes");
static_assert(BM % WM == 0 && BN % WN == 0 && WM % 16u == 0 && WN % 16u == 0, "tiles must divide");
static_assert(PASS_ROWS % 8u == 0 && BM % PASS_ROWS == 0 && BN % PASS_ROWS == 0, "copies must divide");
static_assert(STAGES >= 2u && K_STEPS % 2u == 0, "the pipeline needs two stages, and two buffers of fragments");
static_assert(!PROMOTE || ELEMENT != 4, "promoted sums are fp32");

#ifndef BC_EMULATE

#define INLINE static __device__ __forceinline__

INLINE u32 thread_index() { return threadIdx.x; }
INLINE u32 group_index() { return blockIdx.x; }
INLINE void barrier() { __syncthreads(); }

INLINE u32 shared_base() {
    extern __shared__ __align__(1024) unsigned char shared[];
    return (u32)__cvta_generic_to_shared(shared);
}

/* Copies 16 bytes to shared memory without a register between, past L1, if `wanted`. A branch instead of the predicate
 * would cut the main loop into blocks, across which nothing is scheduled. */
INLINE void cp_async_16(u32 to, const char *from, bool wanted) {
    asm volatile(
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %2, 0;\n\t"
        "@p cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\n\t}\n" ::"r"(to), "l"(from), "r"((int)wanted)
        : "memory");
}

INLINE void cp_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

template <u32 pending> INLINE void cp_wait() { asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory"); }

INLINE void ldmatrix_x4(u32 &r0, u32 &r1, u32 &r2, u32 &r3, u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
                 : "r"(at)
                 : "memory");
}

/* d = a * b + c, 16 x 8, 32 bytes deep. */
#if ELEMENT == 1
#define SHAPE "m16n8k8.row.col.f32.tf32.tf32.f32"
#elif ELEMENT == 2
#define SHAPE "m16n8k16.row.col.f32.f16.f16.f32"
#elif ELEMENT == 3
#define SHAPE "m16n8k16.row.col.f32.bf16.bf16.f32"
#elif ELEMENT == 4
#define SHAPE "m16n8k32.row.col.s32.s8.s8.s32" /* without .satfinite: wraps */
#else
#define SHAPE "m16n8k32.row.col.f32.e4m3.e4m3.f32"
#endif
#if ELEMENT == 4
#define REG "r"
#else
#define REG "f"
#endif
INLINE void mma(sum_t (&d)[4], const u32 (&a)[4], const u32 (&b)[2], const sum_t (&c)[4]) {
    asm volatile("mma.sync.aligned." SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};\n"
                 : "=" REG(d[0]), "=" REG(d[1]), "=" REG(d[2]), "=" REG(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), REG(c[0]), REG(c[1]), REG(c[2]),
                   REG(c[3]));
}

/* Stores two neighbours of C, to be evicted from L2 first: nobody reads C while the product runs. */
INLINE void store_2(sum_t *to, sum_t x, sum_t y) {
#if ELEMENT == 4
    asm volatile("st.global.cs.v2.s32 [%0], {%1, %2};\n" ::"l"(to), "r"(x), "r"(y) : "memory");
#else
    asm volatile("st.global.cs.v2.f32 [%0], {%1, %2};\n" ::"l"(to), "f"(x), "f"(y) : "memory");
#endif
}

#endif

struct Tile {
    u32 m, n;
};

/* Which tile a group makes: RASTER block rows at a time, down first, so that the groups that run at one time read few
 * rows of A and few of B. The last band may hold fewer rows. */
INLINE Tile tile_of(u32 group, u32 tiles_m, u32 tiles_n) {
    u32 band = group / (RASTER * tiles_n), inside = group % (RASTER * tiles_n), first = band * RASTER;
    u32 rows = tiles_m - first < RASTER ? tiles_m - first : RASTER;
    return {first + inside % rows, inside / rows};
}

/* Where a 16-byte chunk of a row lies in a tile. Rows are 64 or 128 bytes; the chunks of eight neighbouring rows at one
 * depth fall into eight different groups of four banks, so neither ldmatrix nor cp.async meets a conflict. */
INLINE u32 swizzled(u32 row, u32 chunk) {
    return row * ROW + ((chunk ^ (ROW == 64u ? (row >> 1) & 3u : row & 7u)) << 4);
}

template <u32 rows> INLINE void copy_tile(u32 to, const char *from, u64 pass_bytes, bool wanted) {
#pragma unroll
    for (u32 pass = 0; pass < rows / PASS_ROWS; pass++)
        cp_async_16(to + pass * PASS_ROWS * ROW, from + pass * pass_bytes, wanted);
}

/* Starts the copies of a step, and goes one step on in k. A group is committed even without copies, so that the number
 * of groups that may be pending is always the same. */
INLINE void copy_step(u32 to, const char *&from_a, const char *&from_b, u64 pass_bytes, bool wanted) {
    copy_tile<BM>(to, from_a, pass_bytes, wanted);
    copy_tile<BN>(to + BM * ROW, from_b, pass_bytes, wanted);
    cp_commit();
    from_a += ROW;
    from_b += ROW;
}

INLINE u32 next_stage(u32 stage) { return stage == (STAGES - 1u) * STAGE_BYTES ? 0u : stage + STAGE_BYTES; }

/* `a_at` and `b_at` are this lane's places for depth 0 of a stage; stages start at multiples of 1024, so a deeper
 * k-step is the same place with bits of the chunk turned over. */
INLINE void load_fragments(u32 (&a)[M_TILES][4], u32 (&b)[N_TILES][2], u32 a_at, u32 b_at, u32 k_step) {
    a_at ^= k_step * 32u;
    b_at ^= k_step * 32u;
#pragma unroll
    for (u32 i = 0; i < M_TILES; i++) ldmatrix_x4(a[i][0], a[i][1], a[i][2], a[i][3], a_at + i * 16u * ROW);
#pragma unroll
    for (u32 j = 0; j < N_TILES; j += 2u)
        ldmatrix_x4(b[j][0], b[j][1], b[j + 1u][0], b[j + 1u][1], b_at + j * 8u * ROW);
}

typedef sum_t parts_t[M_TILES][N_TILES][4];

/* Back and forth through the columns: each instruction shares an operand with the one before it. */
INLINE void multiply(parts_t &parts, const u32 (&a)[M_TILES][4], const u32 (&b)[N_TILES][2]) {
#pragma unroll
    for (u32 i = 0; i < M_TILES; i++)
#pragma unroll
        for (u32 column = 0; column < N_TILES; column++) {
            const u32 j = i % 2u ? N_TILES - 1u - column : column;
            mma(parts[i][j], a[i], b[j], parts[i][j]);
        }
}

/* Adds a step's parts to the sums, and begins anew. */
INLINE void promote(parts_t &sums, parts_t &parts) {
#pragma unroll
    for (u32 i = 0; i < M_TILES; i++)
#pragma unroll
        for (u32 j = 0; j < N_TILES; j++)
#pragma unroll
            for (u32 part = 0; part < 4u; part++) {
                sums[i][j][part] += parts[i][j][part];
                parts[i][j][part] = 0;
            }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
bc_mma(const void *a, const void *b, void *c, u32 m, u32 n, u32 k) {
    const Tile tile = tile_of(group_index(), m / BM, n / BN);
    const u32 thread = thread_index(), lane = thread % 32u, warp = thread / 32u;
    const u32 warp_m = warp % (BM / WM) * WM, warp_n = warp / (BM / WM) * WN;
    const u32 base = shared_base();

    /* Offsets are of 64 bits throughout: an input may be of 16 GiB. */
    const u64 row_bytes = (u64)k * BYTES;
    const u32 copy_row = thread / CHUNKS, copy_chunk = thread % CHUNKS;
    const char *from_a = (const char *)a + ((u64)tile.m * BM + copy_row) * row_bytes + copy_chunk * 16u;
    const char *from_b = (const char *)b + ((u64)tile.n * BN + copy_row) * row_bytes + copy_chunk * 16u;
    const u64 pass_bytes = row_bytes * PASS_ROWS;
    const u32 to = base + swizzled(copy_row, copy_chunk);

    /* Matrices 0..3 of an ldmatrix take their rows from lanes 0-7, 8-15, 16-23, 24-31. A: rows 0-7 and 8-15 at chunk 0,
     * then at chunk 1 (registers a0..a3 of the instruction). B: chunks 0 and 1 of columns 0-7, then of 8-15. */
    const u32 a_at = base + swizzled(warp_m + lane % 16u, lane / 16u);
    const u32 b_at = base + BM * ROW + swizzled(warp_n + lane % 8u + lane / 16u * 8u, lane / 8u % 2u);

    parts_t sums = {}, step_sums = {};
    u32 a_parts[2][M_TILES][4], b_parts[2][N_TILES][2];
    const u32 steps = k / BK;

    u32 stage = 0;
#pragma unroll
    for (u32 step = 0; step < STAGES; step++) {
        copy_step(to + stage, from_a, from_b, pass_bytes, step < steps);
        stage = next_stage(stage);
    }
    cp_wait<STAGES - 1u>();
    barrier();
    load_fragments(a_parts[0], b_parts[0], a_at, b_at, 0);

#pragma unroll 1
    for (u32 step = 0; step < steps; step++) {
#pragma unroll
        for (u32 k_step = 0; k_step < K_STEPS; k_step++) {
            if (k_step == K_STEPS - 1u) {
                /* The whole stage is in registers. Behind the barrier it is free, and the next one has arrived, for all
                 * threads. In the last step there is no next one: the old one is read again, and not used. */
                cp_wait<STAGES - 2u>();
                barrier();
                copy_step(to + stage, from_a, from_b, pass_bytes, step + STAGES < steps);
                if (step + 1u < steps) stage = next_stage(stage);
            }
            load_fragments(a_parts[(k_step + 1u) % 2u], b_parts[(k_step + 1u) % 2u], a_at + stage, b_at + stage,
                           (k_step + 1u) % K_STEPS);
            multiply(PROMOTE ? step_sums : sums, a_parts[k_step % 2u], b_parts[k_step % 2u]);
        }
        if (PROMOTE) promote(sums, step_sums);
    }

    /* Registers 0, 1 of a part are row lane/4, columns 2*(lane%4) and the next; 2, 3 the same eight rows below. Four
     * lanes fill a sector of 32 bytes. */
    sum_t *to_c = (sum_t *)c + ((u64)tile.m * BM + warp_m + lane / 4u) * n + (u64)tile.n * BN + warp_n + lane % 4u * 2u;
#pragma unroll
    for (u32 i = 0; i < M_TILES; i++)
#pragma unroll
        for (u32 half = 0; half < 2u; half++)
#pragma unroll
            for (u32 j = 0; j < N_TILES; j++) {
                sum_t *at = to_c + (u64)(i * 16u + half * 8u) * n + j * 8u;
                store_2(at, sums[i][j][half * 2u], sums[i][j][half * 2u + 1u]);
            }
}
