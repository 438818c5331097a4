/* libcublas.so.13 of paper: the functions that boxcheck calls, numbers as in cublas_api.h and library_types.h. */
#include "gemm.h"

#ifndef GEMM
#define GEMM cublasGemmEx
#endif

struct handle { void *stream; int live; };
enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7 };

int cublasGetProperty(int type, int *value) {
    if (type < 0 || type > 2) return misused(INVALID_VALUE);
    *value = type == 0 ? script.version : type == 1 ? 1 : 0;
    return OK;
}
int cublasCreate_v2(struct handle **out) {
    if (script.create) return script.create;
    *out = calloc(1, sizeof **out);
    (*out)->live = 1;
    counts.handles++;
    return OK;
}
int cublasDestroy_v2(struct handle *handle) {
    if (!handle || !handle->live) return misused(NOT_INITIALIZED);
    handle->live = 0;
    counts.handles--;
    return OK;
}
int cublasSetStream_v2(struct handle *handle, void *stream) {
    if (!handle || !handle->live) return misused(NOT_INITIALIZED);
    handle->stream = stream;
    return OK;
}

static enum kind kind_of(int type) {
    switch (type) {
    case 0: return F32;
    case 2: return F16;
    case 3: return I8;
    case 10: return I32;
    case 14: return BF16;
    case 28: return E4M3;
    }
    return UNKNOWN;
}

int GEMM(
    struct handle *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda,
    const void *b, int type_b, int ldb, const void *beta, void *c, int type_c, int ldc, int compute, int algorithm) {
    int whole = compute == 72;
    if (!handle || !handle->live || !handle->stream) return misused(NOT_INITIALIZED);
    if (script.status > 0) return script.status;
    if (turn_a < 0 || turn_a > 1 || turn_b < 0 || turn_b > 1 || algorithm != -1) return misused(INVALID_VALUE);
    if (whole ? *(const int *)alpha != 1 || *(const int *)beta : *(const float *)alpha != 1.0f || *(const float *)beta)
        return misused(INVALID_VALUE);
    switch (compute) { /* cublasGemmEx, table of supported types */
    case 68: if (type_a == 3 || type_a == 28 || type_c == 10) return misused(INVALID_VALUE); break;
    case 69: case 77: if (type_a != 0 || type_c != 0) return misused(INVALID_VALUE); break;
    case 72: if (type_a != 3 || type_c != 10 || lda % 4 || ldb % 4) return misused(INVALID_VALUE); break;
    default: return misused(INVALID_VALUE);
    }
    return product(
        turn_a, turn_b, m, n, k, a, kind_of(type_a), lda, b, kind_of(type_b), ldb, c, kind_of(type_c), ldc)
        ? OK : misused(INVALID_VALUE);
}
