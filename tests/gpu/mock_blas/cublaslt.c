/* libcublasLt.so.13 of paper, for fp8: descriptors hold what they were told; numbers as in cublasLt.h. */
#include "gemm.h"

enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
struct descriptor { int compute, scale, turned[2]; };
struct layout { int type; uint64_t rows, columns; int64_t stride; };
struct preference { uint64_t most; };
struct answer { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; };
static const uint64_t MARK = 0xa190a190a190ull;

int cublasLtCreate(void **out) { if (script.create) return script.create; *out = &counts; counts.handles++; return OK; }
int cublasLtDestroy(void *handle) { if (handle != &counts) return misused(NOT_INITIALIZED); counts.handles--; return OK; }
int cublasLtMatmulDescCreate(struct descriptor **out, int compute, int scale) {
    *out = calloc(1, sizeof **out);
    (*out)->compute = compute;
    (*out)->scale = scale;
    return OK;
}
int cublasLtMatmulDescSetAttribute(struct descriptor *descriptor, int which, const void *value, size_t size) {
    if ((which != 3 && which != 4) || size != 4) return misused(INVALID_VALUE);
    descriptor->turned[which - 3] = *(const int32_t *)value;
    return OK;
}
int cublasLtMatrixLayoutCreate(struct layout **out, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    if (stride < (int64_t)rows) return misused(INVALID_VALUE);
    *out = calloc(1, sizeof **out);
    **out = (struct layout){type, rows, columns, stride};
    return OK;
}
int cublasLtMatmulPreferenceCreate(struct preference **out) { *out = calloc(1, sizeof **out); return OK; }
int cublasLtMatmulPreferenceSetAttribute(struct preference *preference, int which, const void *value, size_t size) {
    if (which != 1 || size != 8) return misused(INVALID_VALUE);
    memcpy(&preference->most, value, 8);
    return OK;
}

/* fp8 products are of the form T, N alone (cublasLtMatmul, table of supported fp8 products). */
static int fits(struct descriptor *d, struct layout *a, struct layout *b, struct layout *c) {
    return d->compute == 68 && !d->scale && d->turned[0] == 1 && d->turned[1] == 0 && a->type == 28 && b->type == 28
        && c->type == 0 && a->rows == b->rows && a->columns == c->rows && b->columns == c->columns;
}

int cublasLtMatmulAlgoGetHeuristic(
    void *handle, struct descriptor *d, struct layout *a, struct layout *b, struct layout *c, struct layout *out,
    struct preference *preference, int wanted, struct answer *answers, int *count) {
    if (handle != &counts || wanted != 1 || out != c || preference->most < 4u << 20) return misused(INVALID_VALUE);
    if (script.status == NOT_SUPPORTED) { *count = 0; return NOT_SUPPORTED; }
    if (!fits(d, a, b, c)) return misused(NOT_SUPPORTED);
    memset(answers, 0, sizeof *answers);
    answers->algorithm[7] = MARK;
    answers->workspace = 4u << 20;
    *count = 1;
    return OK;
}
int cublasLtMatmul(
    void *handle, struct descriptor *d, const void *alpha, const void *a, struct layout *la, const void *b,
    struct layout *lb, const void *beta, const void *c, struct layout *lc, void *out, struct layout *lo,
    const uint64_t *algorithm, void *workspace, size_t workspace_bytes, void *stream) {
    if (handle != &counts || !stream || c != out || lc != lo || algorithm[7] != MARK) return misused(INVALID_VALUE);
    if (!workspace || (uintptr_t)workspace % 256 || workspace_bytes < 4u << 20 || !fits(d, la, lb, lc))
        return misused(INVALID_VALUE);
    if (*(const float *)alpha != 1.0f || *(const float *)beta != 0.0f) return misused(INVALID_VALUE);
    if (script.status) return script.status;
    return product(
        d->turned[0], d->turned[1], (int)lc->rows, (int)lc->columns, (int)la->rows, a, E4M3, (int)la->stride, b, E4M3,
        (int)lb->stride, out, F32, (int)lc->stride) ? OK : misused(INVALID_VALUE);
}
