/* libcuda.so.1 over core.c: the functions that boxcheck calls, found as cuda.bindings finds them, by cuGetProcAddress_v2.
 * Signatures: CUDA Driver API reference. A handle of a context is the device's number plus one. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;
typedef struct { unsigned grid[3], block[3], shared; void *stream; struct { int id, pad; unsigned value[16]; } *attrs;
    unsigned count; } launch;

/* Each function: the fault that the test scripted, then the device's own state. */
#define BEGIN(name) do { int code_ = fault(#name); if (code_) { mark(code_); return code_; } } while (0)
#define WITH_CONTEXT(name) do { int code_; BEGIN(name); code_ = state(); if (code_) return code_; } while (0)

extern int mock_lasts(int code);
static int cluster_seen, shared_seen, retains;
int mock_cluster(void) { return cluster_seen; }
int mock_shared(void) { return shared_seen; }
int mock_retains(void) { return retains; }

static void mark(int code) { if (current != NO_DEVICE && mock_lasts(code)) devices[current].sticky = code; }

int cuInit(unsigned flags) { (void)flags; BEGIN(cuInit); return device_count ? OK : NO_GPU; }
int cuDriverGetVersion(int *version) { *version = driver_version; return OK; }
int cuDeviceGetCount(int *count) { BEGIN(cuDeviceGetCount); *count = device_count; return OK; }
int cuDeviceGet(int *device, int index) {
    BEGIN(cuDeviceGet);
    if (index < 0 || index >= device_count) return INVALID_DEVICE;
    *device = index;
    return OK;
}
int cuDeviceGetName(char *name, int length, int device) {
    BEGIN(cuDeviceGetName);
    snprintf(name, (size_t)length, "Mock GPU %d", device);
    return OK;
}
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    BEGIN(cuDeviceGetUuid);
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * device + i);
    return OK;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    BEGIN(cuDeviceTotalMem);
    *bytes = (size_t)devices[device].budget;
    return OK;
}
int cuDeviceGetPCIBusId(char *text, int length, int device) {
    BEGIN(cuDeviceGetPCIBusId);
    snprintf(text, (size_t)length, "0000:%02X:00.0", 0x41 + 0x8a * device);
    return OK;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    BEGIN(cuDeviceGetAttribute);
    struct device *d = &devices[device];
    switch (attribute) {
    case 16: *value = d->units; return OK;
    case 18: *value = d->integrated; return OK;
    case 75: *value = d->major; return OK;
    case 76: *value = d->minor; return OK;
    }
    return INVALID_VALUE;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN(cuDevicePrimaryCtxRetain);
    if (devices[device].gone) return UNKNOWN;
    devices[device].retained++;
    retains++;
    *context = (void *)(intptr_t)(device + 1);
    return OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN(cuDevicePrimaryCtxRelease);
    if (devices[device].retained <= 0) return INVALID_CONTEXT;
    if (!--devices[device].retained) forget_device(device);
    return OK;
}
int cuCtxSetCurrent(void *context) {
    BEGIN(cuCtxSetCurrent);
    current = (int)(intptr_t)context - 1;
    if (current >= 0 && !devices[current].retained) { current = NO_DEVICE; return INVALID_CONTEXT; }
    return OK;
}
int cuCtxSynchronize(void) { WITH_CONTEXT(cuCtxSynchronize); return wait_device(); }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    WITH_CONTEXT(cuMemGetInfo);
    *total = (size_t)devices[current].budget;
    *free_bytes = (size_t)(devices[current].budget - devices[current].used);
    return OK;
}
int cuMemAlloc_v2(address *out, size_t size) { WITH_CONTEXT(cuMemAlloc); return take((int64_t)size, (void **)out, 0); }
int cuMemFree_v2(address at) { WITH_CONTEXT(cuMemFree); return give((void *)at, 0); }
int cuMemHostAlloc(void **out, size_t size, unsigned flags) {
    WITH_CONTEXT(cuMemHostAlloc);
    return flags == 1 ? take((int64_t)size, out, 1) : INVALID_VALUE;
}
int cuMemFreeHost(void *at) { WITH_CONTEXT(cuMemFreeHost); return give(at, 1); }
int cuStreamCreate(void **out, unsigned flags) {
    WITH_CONTEXT(cuStreamCreate);
    if (flags != 1) return INVALID_VALUE;
    *out = new_stream();
    return OK;
}
int cuStreamDestroy_v2(void *stream) { WITH_CONTEXT(cuStreamDestroy); return drop_stream(stream); }
int cuStreamSynchronize(void *stream) { WITH_CONTEXT(cuStreamSynchronize); return wait_stream(stream); }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    (void)flags;
    WITH_CONTEXT(cuStreamWaitEvent);
    return hold(stream, event);
}
int cuEventCreate(void **out, unsigned flags) {
    WITH_CONTEXT(cuEventCreate);
    if (flags) return INVALID_VALUE; /* 2 would be without times */
    *out = new_event();
    return OK;
}
int cuEventDestroy_v2(void *event) { WITH_CONTEXT(cuEventDestroy); return drop_event(event); }
int cuEventRecord(void *event, void *stream) { WITH_CONTEXT(cuEventRecord); return record(event, stream); }
int cuEventSynchronize(void *event) { WITH_CONTEXT(cuEventSynchronize); return wait_event(event); }
int cuEventElapsedTime_v2(float *ms, void *a, void *b) { WITH_CONTEXT(cuEventElapsedTime); return elapsed(a, b, ms); }
int cuMemcpyHtoDAsync_v2(address to, const void *of, size_t size, void *stream) {
    WITH_CONTEXT(cuMemcpyHtoDAsync);
    return queue_copy(stream, (void *)to, current, of, NO_DEVICE, size);
}
int cuMemcpyDtoHAsync_v2(void *to, address of, size_t size, void *stream) {
    WITH_CONTEXT(cuMemcpyDtoHAsync);
    return queue_copy(stream, to, NO_DEVICE, (void *)of, current, size);
}
int cuMemcpyDtoDAsync_v2(address to, address of, size_t size, void *stream) {
    WITH_CONTEXT(cuMemcpyDtoDAsync);
    return queue_copy(stream, (void *)to, current, (void *)of, current, size);
}
int cuMemcpyPeerAsync(address to, void *to_context, address of, void *of_context, size_t size, void *stream) {
    WITH_CONTEXT(cuMemcpyPeerAsync);
    return queue_copy(stream, (void *)to, (int)(intptr_t)to_context - 1, (void *)of, (int)(intptr_t)of_context - 1, size);
}
int cuModuleLoadData(void **module, const void *image) {
    const unsigned char *elf = image;
    WITH_CONTEXT(cuModuleLoadData);
    /* An ELF file for machine 190, which is CUDA: what NVRTC made. */
    if (memcmp(elf, "\177ELF", 4) || elf[18] != 190) return INVALID_IMAGE;
    /* Its last part is the table of sections: where it begins, how large an entry is, how many there are. */
    uint64_t begins;
    uint16_t each, count;
    memcpy(&begins, elf + 40, 8);
    memcpy(&each, elf + 58, 2);
    memcpy(&count, elf + 60, 2);
    return load(image, begins + (size_t)each * count, (struct module **)module);
}
int cuModuleUnload(void *module) { WITH_CONTEXT(cuModuleUnload); return unload(module); }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    WITH_CONTEXT(cuModuleGetFunction);
    return find(module, name, (struct function **)function);
}
int cuFuncGetAttribute(int *value, int attribute, void *function) {
    (void)attribute;
    (void)function;
    WITH_CONTEXT(cuFuncGetAttribute);
    *value = 32;
    return OK;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    WITH_CONTEXT(cuFuncSetAttribute);
    if (attribute == 9) return value >= 0 && value <= 100 ? OK : INVALID_VALUE; /* percent of the cache kept for it */
    if (attribute != 8 || value > 99 << 10) return INVALID_VALUE; /* 8: most dynamic shared memory; 99 KiB on sm_89 */
    ((struct function *)function)->shared = value;
    return OK;
}
static int start(struct function *f, const unsigned *grid, const unsigned *block, unsigned shared, void *stream,
    void **parameters) {
    if (grid[1] != 1 || grid[2] != 1 || block[1] != 1 || block[2] != 1) return INVALID_VALUE;
    if (shared > 48 << 10 && (int64_t)shared > f->shared) return INVALID_VALUE;
    shared_seen = (int)shared;
    return queue_kernel(f, grid[0], block[0], stream, parameters, NULL, 0);
}
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
    void *stream, void **parameters, void **extra) {
    unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
    (void)extra;
    WITH_CONTEXT(cuLaunchKernel);
    cluster_seen = 1;
    return start(f, grid, block, shared, stream, parameters);
}
int cuLaunchKernelEx(const launch *l, void *f, void **parameters, void **extra) {
    (void)extra;
    WITH_CONTEXT(cuLaunchKernelEx);
    if (l->count != 1 || l->attrs[0].id != 4) return INVALID_VALUE; /* 4: cluster dimension */
    cluster_seen = (int)l->attrs[0].value[0];
    if (l->grid[0] % l->attrs[0].value[0] || l->attrs[0].value[1] != 1) return 912;
    return start(f, l->grid, l->block, l->shared, l->stream, parameters);
}
int cuDeviceCanAccessPeer(int *can, int device, int peer) {
    BEGIN(cuDeviceCanAccessPeer);
    *can = devices[device].reach[peer];
    return OK;
}
int cuCtxEnablePeerAccess(void *context, unsigned flags) {
    (void)flags;
    WITH_CONTEXT(cuCtxEnablePeerAccess);
    return allow_peer((int)(intptr_t)context - 1);
}
/* The map of paper: its arguments, one a word, so that a kernel can copy them out. */
int cuTensorMapEncodeTiled(uint64_t *map, int type, uint32_t rank, void *at, const uint64_t *dims, const uint64_t *strides,
    const uint32_t *box, const uint32_t *steps, int interleave, int swizzle, int promotion, int fill) {
    uint64_t words[16] = {(uint64_t)type, rank, (uint64_t)(uintptr_t)at, dims[0], dims[1], strides[0], box[0], box[1],
        steps[0], steps[1], (uint64_t)interleave, (uint64_t)swizzle, (uint64_t)promotion, (uint64_t)fill, 0, 1};
    WITH_CONTEXT(cuTensorMapEncodeTiled);
    if (rank != 2 || strides[0] % 16 || box[0] > 256 || box[1] > 256) return INVALID_VALUE;
    memcpy(map, words, sizeof words);
    return OK;
}
/* NVRTC 13 looks for a table of the driver by itself, and does without where there is none. */
int cuGetExportTable(const void **table, const void *id) { (void)id; *table = NULL; return NOT_FOUND; }
int cuGetErrorName(int code, const char **name) { (void)code; *name = "MOCK"; return OK; }

#define PLAIN(name) {#name, (void *)name}
#define SECOND(name) {#name, (void *)name##_v2}
static const struct { const char *name; void *function; } table[] = {
    PLAIN(cuInit), PLAIN(cuDriverGetVersion), PLAIN(cuDeviceGetCount), PLAIN(cuDeviceGet), PLAIN(cuDeviceGetName),
    SECOND(cuDeviceGetUuid), SECOND(cuDeviceTotalMem), PLAIN(cuDeviceGetPCIBusId), PLAIN(cuDeviceGetAttribute),
    PLAIN(cuDevicePrimaryCtxRetain), SECOND(cuDevicePrimaryCtxRelease), PLAIN(cuCtxSetCurrent), PLAIN(cuCtxSynchronize),
    SECOND(cuMemGetInfo), SECOND(cuMemAlloc), SECOND(cuMemFree), PLAIN(cuMemHostAlloc), PLAIN(cuMemFreeHost),
    PLAIN(cuStreamCreate), SECOND(cuStreamDestroy), PLAIN(cuStreamSynchronize), PLAIN(cuStreamWaitEvent),
    PLAIN(cuEventCreate), SECOND(cuEventDestroy), PLAIN(cuEventRecord), PLAIN(cuEventSynchronize),
    SECOND(cuEventElapsedTime), SECOND(cuMemcpyHtoDAsync), SECOND(cuMemcpyDtoHAsync), SECOND(cuMemcpyDtoDAsync),
    PLAIN(cuMemcpyPeerAsync), PLAIN(cuModuleLoadData), PLAIN(cuModuleUnload), PLAIN(cuModuleGetFunction),
    PLAIN(cuFuncGetAttribute), PLAIN(cuFuncSetAttribute), PLAIN(cuLaunchKernel), PLAIN(cuLaunchKernelEx),
    PLAIN(cuDeviceCanAccessPeer), PLAIN(cuCtxEnablePeerAccess), PLAIN(cuTensorMapEncodeTiled), PLAIN(cuGetErrorName),
};

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    (void)version;
    (void)flags;
    *function = NULL;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (!strcmp(table[i].name, name)) *function = table[i].function;
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
