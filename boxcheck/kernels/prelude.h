/* One text for CUDA, HIP and OpenCL (and, with BC_HOST, plain C++ for tests). No vendor's header is needed.
 *
 * A kernel is a 1-D range of groups of 256 work-items; counts are arguments, so no implicit argument is used. Memory
 * kernels give each work-item its own elements: loops that stride over the whole grid are many times slower on OpenCL
 * implementations for processors. */
#if defined(BC_HOST)
#define BC_KERNEL(name) extern "C" void name
#define BC_FN static inline
#define BC_G
#define BC_SHARED static
#define BC_SHARED_POINTER(type) type *
#define BC_BARRIER() bc_barrier()
#define BC_LID bc_lid
#define BC_GROUP bc_group
#define BC_COUNT(p) ((p)[1] = 1u, bc_count(p))
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
extern thread_local u32 bc_lid, bc_group;
extern void bc_barrier(void);
extern u32 bc_count(volatile u32 *p);
static inline u32 bc_bits(float value) { u32 bits; __builtin_memcpy(&bits, &value, 4); return bits; }
static inline float bc_float(u32 bits) { float value; __builtin_memcpy(&value, &bits, 4); return value; }
#elif defined(__OPENCL_VERSION__)
#define BC_KERNEL(name) __kernel __attribute__((reqd_work_group_size(256, 1, 1))) void name
#define BC_FN static inline
#define BC_G __global
#define BC_SHARED __local
#define BC_SHARED_POINTER(type) __local type *
#define BC_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define BC_LID ((u32)get_local_id(0))
#define BC_GROUP ((u32)get_group_id(0))
#define BC_COUNT(p) (atomic_or((p) + 1, 1u), atomic_inc(p))
typedef uint u32;
typedef int i32;
typedef ulong u64;
typedef long i64;
BC_FN u32 bc_bits(float value) { return as_uint(value); }
BC_FN float bc_float(u32 bits) { return as_float(bits); }
#elif defined(__HIP__) || defined(__HIPCC_RTC__)
#ifndef __global__
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#endif
#define BC_KERNEL(name) extern "C" __global__ __attribute__((amdgpu_flat_work_group_size(256, 256))) void name
#define BC_FN static __device__ inline
#define BC_G
#define BC_SHARED __shared__
#define BC_SHARED_POINTER(type) type *
#define BC_BARRIER() do { __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup"); __builtin_amdgcn_s_barrier(); \
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup"); } while (0)
#define BC_LID __builtin_amdgcn_workitem_id_x()
#define BC_GROUP __builtin_amdgcn_workgroup_id_x()
#define BC_COUNT(p) (__hip_atomic_store((p) + 1, 1u, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT), \
    __hip_atomic_fetch_add((p), 1u, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT))
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
BC_FN u32 bc_bits(float value) { return __builtin_bit_cast(u32, value); }
BC_FN float bc_float(u32 bits) { return __builtin_bit_cast(float, bits); }
#else
#define BC_KERNEL(name) extern "C" __global__ __launch_bounds__(256) void name
#define BC_FN static __device__ __forceinline__
#define BC_G
#define BC_SHARED __shared__
#define BC_SHARED_POINTER(type) type *
#define BC_BARRIER() __syncthreads()
#define BC_LID threadIdx.x
#define BC_GROUP blockIdx.x
#define BC_COUNT(p) (atomicOr((u32 *)(p) + 1, 1u), atomicAdd((u32 *)(p), 1u))
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
BC_FN u32 bc_bits(float value) { return __float_as_uint(value); }
BC_FN float bc_float(u32 bits) { return __uint_as_float(bits); }
#endif

/* Sixteen bytes, moved as one. */
#if defined(__OPENCL_VERSION__)
typedef uint4 u32x4;
#else
struct __attribute__((aligned(16))) bc_u32x4 { u32 x, y, z, w; };
typedef struct bc_u32x4 u32x4;
#endif

/* Wrong words are counted, and the first ones kept, in a buffer of u32: [0] how many were found, modulo 2^32; [1] is 1
 * when any was found, whatever the count has come to; [2] for the kernel;
 * [4 + 6 r] the record r: index (two words, low first), expected, found, found on a second read, kernel's own.
 * BC_COUNT(&errors[0]) counts one and sets [1]. */
#define BC_RECORD(r) (4u + 6u * (r))
