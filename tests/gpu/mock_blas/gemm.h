/* A column-major product on the host's memory, for libraries of paper. Written from the BLAS standard's description of
 * gemm; sums of integers below 2^24 come out exact whatever the compiler does with their order.
 *
 * A test pulls its strings by mock_script(what, value):
 *   status     what every product answers from now on; -1: it ends the process
 *   sleep_us   how long a product takes more
 *   narrow_us  the same, where C is not of fp32 or int32
 *   wrong      one element of each product is one too large; 2: of large products alone
 *   once       one element of the product of this number, from 0, is one too large
 *   unsteady   one element differs from one product to the next, from the product of this number on
 *   create     what making a handle answers
 *   version    major version that is told
 * mock_count gives how many: products, live handles, calls with arguments that a real library would not forgive. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum kind { F32, F16, BF16, I8, E4M3, I32, UNKNOWN };

static struct { int status, sleep_us, narrow_us, wrong, once, unsteady, create, version; } script = {
    .once = -1, .unsteady = -1, .version = 13};
static struct { int products, handles, misuses; } counts;

void mock_script(const char *what, int value) {
    if (!strcmp(what, "status")) script.status = value;
    if (!strcmp(what, "sleep_us")) script.sleep_us = value;
    if (!strcmp(what, "narrow_us")) script.narrow_us = value;
    if (!strcmp(what, "wrong")) script.wrong = value;
    if (!strcmp(what, "once")) script.once = value;
    if (!strcmp(what, "unsteady")) script.unsteady = value;
    if (!strcmp(what, "create")) script.create = value;
    if (!strcmp(what, "version")) script.version = value;
}
int mock_count(const char *what) {
    if (!strcmp(what, "products")) return counts.products;
    if (!strcmp(what, "handles")) return counts.handles;
    return counts.misuses;
}

static size_t size_of(enum kind kind) {
    switch (kind) {
    case F32: case I32: return 4;
    case F16: case BF16: return 2;
    default: return 1;
    }
}

/* One value: sign, exponent and mantissa of a small float, without denormals, which the data has none of. */
static float small_float(unsigned bits, int exponent_bits, int mantissa_bits) {
    unsigned sign = bits >> (exponent_bits + mantissa_bits) & 1u;
    int exponent = (int)(bits >> mantissa_bits & ((1u << exponent_bits) - 1u));
    unsigned mantissa = bits & ((1u << mantissa_bits) - 1u);
    float value = (float)(mantissa + (1u << mantissa_bits));
    int shift = exponent - (1 << (exponent_bits - 1)) + 1 - mantissa_bits;
    if (!exponent) return 0.0f;
    for (; shift > 0; shift--) value *= 2.0f;
    for (; shift < 0; shift++) value *= 0.5f;
    return sign ? -value : value;
}

static float value_at(const void *data, enum kind kind, size_t at) {
    uint16_t half;
    float whole;
    switch (kind) {
    case F32: memcpy(&whole, (const char *)data + 4 * at, 4); return whole;
    case F16: memcpy(&half, (const char *)data + 2 * at, 2); return small_float(half, 5, 10);
    case BF16: memcpy(&half, (const char *)data + 2 * at, 2); return small_float(half, 8, 7);
    case I8: return (float)((const int8_t *)data)[at];
    default: return small_float(((const uint8_t *)data)[at], 4, 3);
    }
}

/* rows x k of op(X), row by row; X lies column-major with this stride. */
static float *rows_of(const void *x, enum kind kind, int turned, int rows, int k, int stride) {
    float *out = malloc((size_t)rows * (size_t)k * sizeof *out);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < k; j++)
            out[(size_t)i * k + j] = value_at(x, kind, turned ? (size_t)i * stride + j : (size_t)j * stride + i);
    return out;
}

static void rest(int microseconds) {
    struct timespec span = {microseconds / 1000000, 1000L * (microseconds % 1000000)};
    if (microseconds > 0) nanosleep(&span, NULL);
}

/* C = op(A) op(B), column-major. Zero when the shapes and strides are impossible. */
static int product(
    int turned_a, int turned_b, int m, int n, int k, const void *a, enum kind kind_a, int lda, const void *b,
    enum kind kind_b, int ldb, void *c, enum kind kind_c, int ldc) {
    if (script.status == -1) abort();
    int least_a = turned_a ? k : m, least_b = turned_b ? n : k;
    if (m <= 0 || n <= 0 || k <= 0 || lda < least_a || ldb < least_b || ldc < m || !a || !b || !c) return 0;
    if (kind_a != kind_b || kind_a == UNKNOWN || kind_c == UNKNOWN) return 0;
    float *left = rows_of(a, kind_a, turned_a, m, k, lda), *right = rows_of(b, kind_b, !turned_b, n, k, ldb);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            const float *x = left + (size_t)i * k, *y = right + (size_t)j * k;
            float sum = 0.0f;
            size_t at = (size_t)j * ldc + i;
            for (int l = 0; l < k; l++) sum += x[l] * y[l];
            if (i == 3 && j == 5 && (script.wrong == 1 || (script.wrong == 2 && k > 256))) sum += 1.0f;
            if (i == 3 && j == 5 && script.once == counts.products) sum += 1.0f;
            if (i == 3 && j == 5 && script.unsteady >= 0 && counts.products >= script.unsteady)
                sum += (float)(1 + counts.products);
            if (kind_c == F32) memcpy((char *)c + 4 * at, &sum, 4);
            if (kind_c == I32) { int32_t whole = (int32_t)sum; memcpy((char *)c + 4 * at, &whole, 4); }
            if (kind_c == BF16 || kind_c == F16) { /* cut off, which is enough for products that are only timed */
                uint32_t bits;
                memcpy(&bits, &sum, 4);
                uint16_t half = (uint16_t)(bits >> 16);
                memcpy((char *)c + 2 * at, &half, 2);
            }
        }
    free(left);
    free(right);
    rest(size_of(kind_c) == 4 ? script.sleep_us : script.narrow_us);
    counts.products++;
    return 1;
}

static int misused(int status) { counts.misuses++; return status; }
