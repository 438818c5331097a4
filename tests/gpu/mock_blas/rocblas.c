/* librocblas.so.4 of paper: the functions that boxcheck calls, numbers as in rocblas-types.h. */
#include "gemm.h"
#include <stdio.h>

struct handle { void *stream; int live, atomics; };
enum { OK = 0, INVALID_HANDLE = 1, INVALID_VALUE = 11 };

int rocblas_get_version_string(char *out, size_t size) {
    snprintf(out, size, "4.4.1.3fbc8d9d");
    return OK;
}
int rocblas_create_handle(struct handle **out) {
    if (script.create) return script.create;
    *out = calloc(1, sizeof **out);
    (*out)->live = (*out)->atomics = 1;
    counts.handles++;
    return OK;
}
int rocblas_destroy_handle(struct handle *handle) {
    if (!handle || !handle->live) return misused(INVALID_HANDLE);
    handle->live = 0;
    counts.handles--;
    return OK;
}
int rocblas_set_stream(struct handle *handle, void *stream) {
    if (!handle || !handle->live) return misused(INVALID_HANDLE);
    handle->stream = stream;
    return OK;
}
int rocblas_set_atomics_mode(struct handle *handle, int mode) {
    if (!handle || !handle->live) return misused(INVALID_HANDLE);
    handle->atomics = mode;
    return OK;
}

static enum kind kind_of(int type) {
    switch (type) {
    case 150: return F16;
    case 151: return F32;
    case 160: return I8;
    case 162: return I32;
    case 168: return BF16;
    }
    return UNKNOWN;
}

int rocblas_gemm_ex(
    struct handle *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda,
    const void *b, int type_b, int ldb, const void *beta, const void *c, int type_c, int ldc, void *d, int type_d, int ldd,
    int compute, int algorithm, int32_t solution, uint32_t flags) {
    int whole = compute == 162;
    if (!handle || !handle->live || !handle->stream || handle->atomics) return misused(INVALID_HANDLE);
    if (turn_a < 111 || turn_a > 112 || turn_b < 111 || turn_b > 112 || algorithm || solution || flags || c != d
        || type_c != type_d || ldc != ldd)
        return misused(INVALID_VALUE);
    if (whole ? *(const int *)alpha != 1 || *(const int *)beta : *(const float *)alpha != 1.0f || *(const float *)beta)
        return misused(INVALID_VALUE);
    if (whole ? type_a != 160 || type_c != 162 : compute != 151 || type_a == 160 || type_c == 162) return misused(INVALID_VALUE);
    if (script.status && script.status != 7) return script.status;
    return product(
        turn_a == 112, turn_b == 112, m, n, k, a, kind_of(type_a), lda, b, kind_of(type_b), ldb, d, kind_of(type_d), ldd)
        ? script.status : misused(INVALID_VALUE);
}
