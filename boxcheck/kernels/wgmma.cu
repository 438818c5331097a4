/* Matrix product of Hopper: tiles come by the tensor memory accelerator, warpgroups multiply them from shared memory.
 *
 * C[i][j] = sum over k of A[i][k] * B[j][k]; A is [m][k], B is [n][k], C is [m][n] of fp32 (int32 for int8). m is a
 * multiple of BC_TILE_M * BC_CLUSTER, n of BC_TILE_N, k of the 128 bytes that one step takes. One group has a warpgroup
 * that loads and BC_TILE_M / 64 warpgroups that multiply; groups are persistent and walk over the tiles of C.
 *
 * A stage of the queue holds 128 bytes of k of both tiles. Its barrier `full` has one arrival (the loader's, with the
 * bytes to come), its barrier `empty` one of each multiplying warpgroup. A stage is released when the products that
 * read it are complete, which is one step later than they were started.
 *
 * Every PTX instruction is one function below. With BC_EMULATE their bodies come from elsewhere, and the same text runs
 * on a processor (tests/kernels/wgmma). Sections of PTX are those of "Parallel Thread Execution ISA", version 8.7. */

#define BC_TF32 1
#define BC_FP16 2
#define BC_BF16 3
#define BC_INT8 4
#define BC_E4M3 5

#ifndef BC_TILE_M
#define BC_TILE_M 128
#endif
#ifndef BC_TILE_N
#define BC_TILE_N 256
#endif
#ifndef BC_STAGES
#define BC_STAGES 4
#endif
/* Groups that share a tile of B; each loads its part of it into all of them. */
#ifndef BC_CLUSTER
#define BC_CLUSTER 1
#endif
/* The tensor cores of Hopper add fp8 products in 14 bits (arXiv 2511.10909): sums move to fp32 registers after each
 * step of 128 products, half the columns at a time, because two whole sets of sums do not fit the registers. */
#ifndef BC_PROMOTE
#define BC_PROMOTE (BC_ELEMENT == BC_E4M3)
#endif
/* A wait that lasts longer ends the kernel with a trap: a fault must not hang the machine that looks for it. */
#ifndef BC_PATIENCE_NANOSECONDS
#define BC_PATIENCE_NANOSECONDS 2000000000ull
#endif
#define BC_PATIENCE_POLLS 64u
/* Rows of tiles that groups which run at one time walk down together: 132 groups are on 16 x 8 tiles, whose inputs the
 * L2 cache then holds. */
#define BC_PANEL (16u / BC_CLUSTER)

typedef unsigned int u32;
typedef unsigned long long u64;
#if BC_ELEMENT == BC_INT8
typedef int bc_sum;
#else
typedef float bc_sum;
#endif

#define BC_STEP_BYTES 128u
#if BC_ELEMENT == BC_INT8 || BC_ELEMENT == BC_E4M3
#define BC_STEP 128u
#elif BC_ELEMENT == BC_TF32
#define BC_STEP 32u
#else
#define BC_STEP 64u
#endif
/* Products of one instruction are 32 bytes deep, for every element (PTX 9.7.15.2, shapes). */
#define BC_SLICES 4u

#define BC_CONSUMERS (BC_TILE_M / 64)
#define BC_THREADS (128 * (1 + BC_CONSUMERS))
#define BC_A_BYTES (BC_TILE_M * BC_STEP_BYTES)
#define BC_B_BYTES (BC_TILE_N * BC_STEP_BYTES)
#define BC_STAGE_BYTES (BC_A_BYTES + BC_B_BYTES)
/* Sums of a thread: a warpgroup of 128 threads holds 64 rows. */
#define BC_SUMS (BC_TILE_N / 2)

/* Registers of a loading and of a multiplying thread: 128 * 40 + 256 * 232 = 384 * 168, what the launch is given. */
#define BC_LOADER_REGISTERS 40
#define BC_MULTIPLIER_REGISTERS 232

#ifdef __CUDACC_RTC__
#define BC_INLINE __device__ __forceinline__
#else
#define BC_INLINE static inline
#endif
#define BC_UNROLL _Pragma("unroll")

/* A tensor map as the driver encodes it. */
struct alignas(64) bc_map {
    u64 words[16];
};

#ifndef BC_EMULATE

BC_INLINE u32 bc_thread() { return threadIdx.x; }
BC_INLINE u32 bc_group() { return blockIdx.x; }
BC_INLINE u32 bc_groups() { return gridDim.x; }

BC_INLINE u32 bc_cluster_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* Address of the dynamic shared memory in the shared window. */
BC_INLINE u32 bc_shared_base() {
    extern __shared__ unsigned char bc_shared[];
    return (u32)__cvta_generic_to_shared(bc_shared);
}

BC_INLINE u64 bc_nanoseconds() {
    u64 now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    return now;
}

BC_INLINE void bc_stop() { asm volatile("trap;"); }

BC_INLINE void bc_barrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/* Makes initialised barriers visible to the copy engine and to the cluster (PTX 9.7.13.4, fence.mbarrier_init). */
BC_INLINE void bc_barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/* All threads of the group, or of the cluster, come here before one goes on. */
BC_INLINE void bc_everyone() {
#if BC_CLUSTER > 1
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#else
    asm volatile("bar.sync 0;" ::: "memory");
#endif
}

/* Threads of a warp that left a loop one by one are together again: what is `.aligned` needs that. */
BC_INLINE void bc_together() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

/* Arrives, and adds bytes that copies still bring to this phase. */
BC_INLINE void bc_barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/* Arrives at the barrier that lies at this address in the group of this rank of the cluster. */
BC_INLINE void bc_barrier_arrive(u32 barrier, u32 rank) {
#if BC_CLUSTER > 1
    asm volatile(
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(barrier), "r"(rank) : "memory");
#else
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}

/* Whether the phase of this parity is complete; may sleep for a while first. A fresh barrier's parity 1 is complete. */
BC_INLINE bool bc_barrier_done(u32 barrier, u32 parity) {
    u32 done;
#if BC_CLUSTER > 1
#define BC_TRY_WAIT "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64"
#else
#define BC_TRY_WAIT "mbarrier.try_wait.parity.shared::cta.b64"
#endif
    asm volatile("{\n.reg .pred p;\n" BC_TRY_WAIT " p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    return done != 0u;
}

BC_INLINE void bc_map_prefetch(const bc_map *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* Starts the copy of one box, whose corner is at (k, row), and tells the barrier when its bytes are there. With a
 * cluster the box goes to the same address in the groups of `mask`, and each group's barrier is told. */
BC_INLINE void bc_load(u32 to, const bc_map *map, u32 k, u32 row, u32 barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];" ::
            "r"(to), "l"(map), "r"(k), "r"(row), "r"(barrier) : "memory");
}
BC_INLINE void bc_load_to_cluster(u32 to, const bc_map *map, u32 k, u32 row, u32 barrier, u32 mask) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%2, %3}], [%4], %5;" ::
            "r"(to), "l"(map), "r"(k), "r"(row), "r"(barrier), "h"((unsigned short)mask) : "memory");
}

BC_INLINE void bc_fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(BC_LOADER_REGISTERS));
}
BC_INLINE void bc_more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(BC_MULTIPLIER_REGISTERS));
}

/* Orders accesses of registers before the products that follow (PTX 9.7.15.7.1). */
BC_INLINE void bc_products_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
BC_INLINE void bc_products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/* Waits until at most `left` of the youngest committed lots of products are unfinished. */
template <int left> BC_INLINE void bc_products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}

#if BC_ELEMENT == BC_TF32
#define BC_KIND "k8.f32.tf32.tf32 "
#define BC_TAIL ", p, 1, 1;\n}"
#elif BC_ELEMENT == BC_FP16
#define BC_KIND "k16.f32.f16.f16 "
#define BC_TAIL ", p, 1, 1, 0, 0;\n}"
#elif BC_ELEMENT == BC_BF16
#define BC_KIND "k16.f32.bf16.bf16 "
#define BC_TAIL ", p, 1, 1, 0, 0;\n}"
#elif BC_ELEMENT == BC_INT8
#define BC_KIND "k32.s32.s8.s8 "
#define BC_TAIL ", p;\n}"
#elif BC_ELEMENT == BC_E4M3
#define BC_KIND "k32.f32.e4m3.e4m3 "
#define BC_TAIL ", p, 1, 1;\n}"
#endif
#if BC_ELEMENT == BC_INT8
#define BC_SUM "+r"
#else
#define BC_SUM "+f"
#endif

/* Names of ten operands, %t0 to %t9, and eight operands themselves. */
#define BC_TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define BC_EIGHT(i)                                                                                                   \
    BC_SUM(d[i]), BC_SUM(d[i + 1]), BC_SUM(d[i + 2]), BC_SUM(d[i + 3]), BC_SUM(d[i + 4]), BC_SUM(d[i + 5]),           \
        BC_SUM(d[i + 6]), BC_SUM(d[i + 7])
#define BC_32(i) BC_EIGHT(i), BC_EIGHT(i + 8), BC_EIGHT(i + 16), BC_EIGHT(i + 24)

/* Starts d = a * b + (keep ? d : 0) of 64 rows; d is out of reach until it has been waited for. */
BC_INLINE void bc_multiply(bc_sum (&d)[128], u64 a, u64 b, u32 keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256" BC_KIND
        "{" BC_TEN() BC_TEN(1) BC_TEN(2) BC_TEN(3) BC_TEN(4) BC_TEN(5) BC_TEN(6) BC_TEN(7) BC_TEN(8) BC_TEN(9)
        BC_TEN(10) BC_TEN(11) "%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129" BC_TAIL
        : BC_32(0), BC_32(32), BC_32(64), BC_32(96) : "l"(a), "l"(b), "r"(keep));
}
BC_INLINE void bc_multiply(bc_sum (&d)[64], u64 a, u64 b, u32 keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128" BC_KIND
        "{" BC_TEN() BC_TEN(1) BC_TEN(2) BC_TEN(3) BC_TEN(4) BC_TEN(5) "%60,%61,%62,%63}, %64, %65" BC_TAIL
        : BC_32(0), BC_32(32) : "l"(a), "l"(b), "r"(keep));
}

/* Writes two neighbours; they will not be read soon. */
BC_INLINE void bc_store(bc_sum *to, bc_sum first, bc_sum second) {
#if BC_ELEMENT == BC_INT8
    asm volatile("st.global.cs.v2.s32 [%0], {%1, %2};" ::"l"(to), "r"(first), "r"(second) : "memory");
#else
    asm volatile("st.global.cs.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(first), "f"(second) : "memory");
#endif
}

#endif /* BC_EMULATE */

/* Waits for a phase, in bounds. A group that was switched out does not poll: both time and polls must have passed. */
BC_INLINE void bc_wait(u32 barrier, u32 parity) {
    if (bc_barrier_done(barrier, parity)) return;
    u64 since = bc_nanoseconds();
    u32 polls = 0u;
    while (!bc_barrier_done(barrier, parity))
        if (++polls > BC_PATIENCE_POLLS && bc_nanoseconds() - since > BC_PATIENCE_NANOSECONDS) bc_stop();
}

/* Descriptor of a tile in shared memory (PTX 9.7.15.5.1.2.2): k-major rows of 128 bytes, swizzled by 128 bytes, so
 * eight rows fill a pattern of 1024 bytes, the stride from one to the next; the leading offset has no meaning there. */
BC_INLINE u64 bc_descriptor(u32 address) {
    return ((address & 0x3ffffu) >> 4) | (1ull << 16) | ((1024ull >> 4) << 32) | (1ull << 62);
}
/* What is added to a descriptor for so many bytes. */
#define BC_ALONG(bytes) ((u64)(bytes) >> 4)

/* Where the queue is: the stage, and the parity of its phase. */
struct bc_place {
    u32 stage, parity;
};
BC_INLINE void bc_advance(bc_place &at) {
    if (++at.stage == BC_STAGES) {
        at.stage = 0u;
        at.parity ^= 1u;
    }
}

struct bc_queue {
    u32 stages, barriers;
};
BC_INLINE u32 bc_a(const bc_queue &q, u32 stage) { return q.stages + stage * BC_STAGE_BYTES; }
BC_INLINE u32 bc_b(const bc_queue &q, u32 stage) { return q.stages + stage * BC_STAGE_BYTES + BC_A_BYTES; }
BC_INLINE u32 bc_full(const bc_queue &q, u32 stage) { return q.barriers + stage * 16u; }
BC_INLINE u32 bc_empty(const bc_queue &q, u32 stage) { return q.barriers + stage * 16u + 8u; }

/* The tile of C with this number: first row, first column. With a cluster, rows are those of its first group. */
struct bc_tile {
    u32 row, column;
};
BC_INLINE bc_tile bc_tile_at(u32 number, u32 m, u32 n) {
    u32 down = m / (BC_TILE_M * BC_CLUSTER), across = n / BC_TILE_N;
    u32 first = number / (BC_PANEL * across) * BC_PANEL, within = number % (BC_PANEL * across);
    u32 rows = down - first < BC_PANEL ? down - first : BC_PANEL;
    return {(first + within % rows) * (BC_TILE_M * BC_CLUSTER), within / rows * BC_TILE_N};
}

/* One thread fills the stages, tile after tile. */
BC_INLINE void bc_produce(const bc_queue &q, const bc_map *map_a, const bc_map *map_b, u32 tiles, u32 m, u32 n, u32 k) {
    bc_place at = {0u, 1u};
    u32 rank = BC_CLUSTER > 1 ? bc_cluster_rank() : 0u;
    for (u32 number = bc_group() / BC_CLUSTER; number < tiles; number += bc_groups() / BC_CLUSTER) {
        bc_tile tile = bc_tile_at(number, m, n);
        for (u32 depth = 0u; depth < k; depth += BC_STEP) {
            u32 full = bc_full(q, at.stage);
            bc_wait(bc_empty(q, at.stage), at.parity);
            bc_barrier_expect(full, BC_STAGE_BYTES);
            bc_load(bc_a(q, at.stage), map_a, depth, tile.row + rank * BC_TILE_M, full);
#if BC_CLUSTER > 1
            u32 part = rank * (BC_TILE_N / BC_CLUSTER);
            bc_load_to_cluster(bc_b(q, at.stage) + part * BC_STEP_BYTES, map_b, depth, tile.column + part, full,
                               (1u << BC_CLUSTER) - 1u);
#else
            bc_load(bc_b(q, at.stage), map_b, depth, tile.column, full);
#endif
            bc_advance(at);
        }
    }
}

/* One arrival of the warpgroup at the stage of each group that loads into this one's. The lots of products are those of
 * the warpgroup (PTX 9.7.15.7.2), so one thread's wait for them speaks for all. */
BC_INLINE void bc_release(const bc_queue &q, u32 stage) {
    u32 member = bc_thread() % 128u;
    if (member < BC_CLUSTER) bc_barrier_arrive(bc_empty(q, stage), member);
}

/* A thread's sums to C (PTX 9.7.15.5.1.1.1, fragment D): in every 8 columns it has two neighbours in one row, and two
 * in the row 8 below. */
BC_INLINE void bc_store_sums(bc_sum *c, bc_tile tile, u32 n, const bc_sum (&sums)[BC_SUMS]) {
    u32 member = bc_thread() % 128u, lane = member % 32u;
    u32 row = tile.row + (bc_thread() / 128u - 1u) * 64u + member / 32u * 16u + lane / 4u;
    bc_sum *upper = c + (u64)row * n + tile.column + lane % 4u * 2u, *lower = upper + (u64)n * 8u;
    BC_UNROLL
    for (u32 i = 0u; i < BC_SUMS; i += 4u) {
        bc_store(upper + i * 2u, sums[i], sums[i + 1u]);
        bc_store(lower + i * 2u, sums[i + 2u], sums[i + 3u]);
    }
}

/* A warpgroup multiplies its 64 rows of every stage with all columns. */
BC_INLINE void bc_consume(const bc_queue &q, bc_sum *c, u32 tiles, u32 m, u32 n, u32 k) {
    bc_place at = {0u, 0u};
    u32 rank = BC_CLUSTER > 1 ? bc_cluster_rank() : 0u;
    u32 rows = (bc_thread() / 128u - 1u) * 64u * BC_STEP_BYTES;
    for (u32 number = bc_group() / BC_CLUSTER; number < tiles; number += bc_groups() / BC_CLUSTER) {
        bc_tile tile = bc_tile_at(number, m, n);
        tile.row += rank * BC_TILE_M;
        bc_sum sums[BC_SUMS];
#if BC_PROMOTE
        BC_UNROLL
        for (u32 i = 0u; i < BC_SUMS; i++) sums[i] = 0;
        for (u32 depth = 0u; depth < k; depth += BC_STEP) {
            bc_wait(bc_full(q, at.stage), at.parity);
            bc_together();
            u64 a = bc_descriptor(bc_a(q, at.stage) + rows), b = bc_descriptor(bc_b(q, at.stage));
            BC_UNROLL
            for (u32 half = 0u; half < 2u; half++) {
                bc_sum part[BC_SUMS / 2];
                bc_products_fence();
                BC_UNROLL
                for (u32 slice = 0u; slice < BC_SLICES; slice++)
                    bc_multiply(part, a + BC_ALONG(32u * slice),
                                b + BC_ALONG(half * (BC_B_BYTES / 2u) + 32u * slice), slice);
                bc_products_commit();
                bc_products_wait<0>();
                BC_UNROLL
                for (u32 i = 0u; i < BC_SUMS / 2; i++) sums[half * (BC_SUMS / 2) + i] += part[i];
            }
            bc_release(q, at.stage);
            bc_advance(at);
        }
#else
        u32 before = 0u;
        for (u32 depth = 0u; depth < k; depth += BC_STEP) {
            bc_wait(bc_full(q, at.stage), at.parity);
            bc_together();
            u64 a = bc_descriptor(bc_a(q, at.stage) + rows), b = bc_descriptor(bc_b(q, at.stage));
            bc_products_fence();
            BC_UNROLL
            for (u32 slice = 0u; slice < BC_SLICES; slice++)
                bc_multiply(sums, a + BC_ALONG(32u * slice), b + BC_ALONG(32u * slice), slice ? 1u : depth);
            bc_products_commit();
            bc_products_wait<1>();
            if (depth) bc_release(q, before);
            before = at.stage;
            bc_advance(at);
        }
        bc_products_wait<0>();
        bc_release(q, before);
#endif
        bc_store_sums(c, tile, n, sums);
    }
}

#if BC_CLUSTER > 1
#define BC_LAUNCH __cluster_dims__(BC_CLUSTER, 1, 1) __launch_bounds__(BC_THREADS, 1)
#else
#define BC_LAUNCH __launch_bounds__(BC_THREADS, 1)
#endif
extern "C" __global__ void BC_LAUNCH
bc_wgmma(const __grid_constant__ bc_map map_a, const __grid_constant__ bc_map map_b, bc_sum *c, u32 m, u32 n, u32 k) {
    /* The swizzle works on address bits, so stages begin at multiples of its 1024 bytes. */
    bc_queue q;
    q.stages = (bc_shared_base() + 1023u) & ~1023u;
    q.barriers = q.stages + BC_STAGES * BC_STAGE_BYTES;
    u32 tiles = m / (BC_TILE_M * BC_CLUSTER) * (n / BC_TILE_N);
    if (bc_thread() == 0u) {
        for (u32 stage = 0u; stage < BC_STAGES; stage++) {
            bc_barrier_init(bc_full(q, stage), 1u);
            bc_barrier_init(bc_empty(q, stage), BC_CONSUMERS * BC_CLUSTER);
        }
        bc_barrier_init_fence();
        bc_map_prefetch(&map_a);
        bc_map_prefetch(&map_b);
    }
    bc_everyone();
    if (bc_thread() < 128u) {
        bc_fewer_registers();
        if (bc_thread() == 0u) bc_produce(q, &map_a, &map_b, tiles, m, n, k);
    } else {
        bc_more_registers();
        bc_consume(q, c, tiles, m, n, k);
    }
#if BC_CLUSTER > 1
    /* Nobody leaves while another may still arrive at its barriers. */
    bc_everyone();
#endif
}
