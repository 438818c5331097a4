/* libamdhip64.so over core.c: the functions that boxcheck calls, found by name. Signatures: HIP runtime API reference.
 * HIP has no contexts: a device is there from the start, and the thread's own is set. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* hipDeviceProp_tR0600 (hip_runtime_api.h, ROCm 6 and newer), as far as it is told here. */
struct properties {
    char name[256];
    char uuid[16], luid[8];
    unsigned luid_mask;
    size_t memory, shared;
    int registers, warp;
    size_t pitch;
    int threads, threads_dim[3], grid[3], clock;
    size_t constant;
    int major, minor;
    size_t alignment, pitch_alignment;
    int overlap, units, timeout, integrated, can_map, mode;
    int textures[40];
    size_t surface_alignment;
    int concurrent, ecc, bus, device, domain, tcc;
    int caches[10];
    size_t shared_unit;
    int abilities[12];
    size_t shared_most;
    int more[4];
    size_t shared_reserved;
    int abilities_too[108];
    char arch[256];
};

extern int mock_lasts(int code);
static const char *archs[MOST_DEVICES];
static int runtime_version = 60443484;
void mock_gfx(int device, const char *arch) { free((char *)archs[device]); archs[device] = arch ? strdup(arch) : NULL; }
void mock_runtime(int version) { runtime_version = version; }

static void mark(int code) { if (current != NO_DEVICE && mock_lasts(code)) devices[current].sticky = code; }
#define BEGIN(name) do { int code_ = fault(#name); if (code_) { mark(code_); return code_; } } while (0)
#define ON_DEVICE(name) do { int code_; BEGIN(name); code_ = state(); if (code_) return code_; } while (0)

int hipInit(unsigned flags) { (void)flags; BEGIN(hipInit); return device_count ? OK : NO_GPU; }
int hipRuntimeGetVersion(int *version) { *version = runtime_version; return OK; }
int hipGetDeviceCount(int *count) { BEGIN(hipGetDeviceCount); *count = device_count; return device_count ? OK : NO_GPU; }
int hipSetDevice(int device) {
    BEGIN(hipSetDevice);
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    current = device;
    return OK;
}
int hipGetDevicePropertiesR0600(struct properties *p, int device) {
    BEGIN(hipGetDeviceProperties);
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    snprintf(p->name, sizeof p->name, "Mock GPU %d", device);
    memcpy(p->uuid, "4d1b8a9dc2f1e5a7", 16);
    p->memory = (size_t)devices[device].budget;
    p->units = devices[device].units;
    p->integrated = devices[device].integrated;
    p->bus = 0x41 + 0x8a * device;
    snprintf(p->arch, sizeof p->arch, "%s", archs[device] ? archs[device] : "gfx1100");
    return OK;
}
int hipMemGetInfo(size_t *free_bytes, size_t *total) {
    ON_DEVICE(hipMemGetInfo);
    *total = (size_t)devices[current].budget;
    *free_bytes = (size_t)(devices[current].budget - devices[current].used);
    return OK;
}
int hipMalloc(void **out, size_t size) { ON_DEVICE(hipMalloc); return take((int64_t)size, out, 0); }
int hipFree(void *at) { ON_DEVICE(hipFree); return give(at, 0); }
int hipHostMalloc(void **out, size_t size, unsigned flags) {
    ON_DEVICE(hipHostMalloc);
    return flags == 3 ? take((int64_t)size, out, 1) : INVALID_VALUE;
}
int hipHostFree(void *at) { ON_DEVICE(hipHostFree); return give(at, 1); }
int hipStreamCreateWithFlags(void **out, unsigned flags) {
    ON_DEVICE(hipStreamCreateWithFlags);
    if (flags != 1) return INVALID_VALUE;
    *out = new_stream();
    return OK;
}
int hipStreamDestroy(void *stream) { ON_DEVICE(hipStreamDestroy); return drop_stream(stream); }
int hipStreamSynchronize(void *stream) { ON_DEVICE(hipStreamSynchronize); return wait_stream(stream); }
int hipStreamWaitEvent(void *stream, void *event, unsigned flags) {
    (void)flags;
    ON_DEVICE(hipStreamWaitEvent);
    return hold(stream, event);
}
int hipDeviceSynchronize(void) { ON_DEVICE(hipDeviceSynchronize); return wait_device(); }
int hipEventCreateWithFlags(void **out, unsigned flags) {
    ON_DEVICE(hipEventCreateWithFlags);
    if (flags) return INVALID_VALUE; /* 2 would be without times */
    *out = new_event();
    return OK;
}
int hipEventDestroy(void *event) { ON_DEVICE(hipEventDestroy); return drop_event(event); }
int hipEventRecord(void *event, void *stream) { ON_DEVICE(hipEventRecord); return record(event, stream); }
int hipEventSynchronize(void *event) { ON_DEVICE(hipEventSynchronize); return wait_event(event); }
int hipEventElapsedTime(float *ms, void *a, void *b) { ON_DEVICE(hipEventElapsedTime); return elapsed(a, b, ms); }
int hipMemcpyAsync(void *to, const void *of, size_t size, int kind, void *stream) {
    ON_DEVICE(hipMemcpyAsync);
    if (kind < 1 || kind > 3) return INVALID_VALUE; /* 1 to the device, 2 from it, 3 within it */
    return queue_copy(stream, to, kind == 2 ? NO_DEVICE : current, of, kind == 1 ? NO_DEVICE : current, size);
}
int hipMemcpyPeerAsync(void *to, int to_device, const void *of, int of_device, size_t size, void *stream) {
    ON_DEVICE(hipMemcpyPeerAsync);
    return queue_copy(stream, to, to_device, of, of_device, size);
}
int hipModuleLoadData(void **module, const void *image) {
    ON_DEVICE(hipModuleLoadData);
    return memcmp(image, "MOCK CODE OBJECT", 16) ? INVALID_IMAGE : load(image, 0, (struct module **)module);
}
int hipModuleUnload(void *module) { ON_DEVICE(hipModuleUnload); return unload(module); }
int hipModuleGetFunction(void **function, void *module, const char *name) {
    ON_DEVICE(hipModuleGetFunction);
    return find(module, name, (struct function **)function);
}
int hipModuleLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
    unsigned shared, void *stream, void **parameters, void **extra) {
    static const unsigned char none[1];
    ON_DEVICE(hipModuleLaunchKernel);
    /* A runtime may read the code where it was given for as long as the module lives. */
    if (memcmp(((struct function *)f)->of->code, "MOCK CODE OBJECT", 16)) return INVALID_IMAGE;
    if (gy != 1 || gz != 1 || by != 1 || bz != 1 || parameters || shared > 64 << 10) return INVALID_VALUE;
    if (!extra) return queue_kernel(f, gx, bx, stream, NULL, (void *)none, 0);
    if (extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != (void *)3) return INVALID_VALUE;
    return queue_kernel(f, gx, bx, stream, NULL, extra[1], *(size_t *)extra[3]);
}
int hipDeviceCanAccessPeer(int *can, int device, int peer) {
    BEGIN(hipDeviceCanAccessPeer);
    *can = devices[device].reach[peer];
    return OK;
}
int hipDeviceEnablePeerAccess(int peer, unsigned flags) {
    (void)flags;
    ON_DEVICE(hipDeviceEnablePeerAccess);
    return allow_peer(peer);
}
int hipDeviceReset(void) {
    BEGIN(hipDeviceReset);
    forget_device(current);
    return OK;
}
