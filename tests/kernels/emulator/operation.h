/* What a warp asks of the emulator: one lane's part of an instruction. */
#pragma once
#include <stdint.h>
#include <string.h>

enum Kind { LDMATRIX_X4, MMA, COPY, COMMIT, WAIT, STORE, BARRIER };
enum Element { TF32 = 1, FP16 = 2, BF16 = 3, INT8 = 4, E4M3 = 5 };

struct Operation {
    Kind kind;
    Element element = TF32;                       /* MMA */
    uint32_t a[4] = {}, b[2] = {}, c[4] = {};     /* MMA: fragments, bits; STORE: c[0], c[1] */
    uint32_t d[4] = {};                           /* MMA, LDMATRIX_X4: result, bits */
    uint32_t at = 0;                              /* LDMATRIX_X4, COPY: shared address */
    const void *from = 0;                         /* COPY */
    bool wanted = false;                          /* COPY */
    uint32_t pending = 0;                         /* WAIT */
    void *to = 0;                                 /* STORE */
};

/* Does a lane's part, and comes back when the warp has done the instruction. */
void emulate(Operation &operation);
uint32_t emulated_thread(), emulated_group(), emulated_shared_base();

/* Exact: fp32 holds every fp16. */
static inline float fp16_to_fp32(uint32_t bits) {
    int exponent = bits >> 10 & 31u, mantissa = bits & 0x3ffu;
    float value = exponent == 31 ? (mantissa ? __builtin_nanf("") : __builtin_inff())
                  : exponent     ? __builtin_ldexpf(mantissa | 0x400, exponent - 25)
                                 : __builtin_ldexpf(mantissa, -24);
    return bits & 0x8000u ? -value : value;
}
