/* mma.sync for a warp: fragment layouts as in the PTX ISA ("Matrix Fragments for mma.m16n8k8", "... m16n8k16 with
 * floating point type", "... m16n8k32"), sums as in "MMA-Sim: bit-accurate reference model of tensor cores"
 * (arXiv 2511.10909): all products and the accumulator are aligned to the largest of them, cut off behind `fraction`
 * bits, added, and cut off to the result. */
#pragma once
#include <math.h>

#include "operation.h"

static int element_bits(Element element) {
    return element == TF32 ? 32 : element == INT8 || element == E4M3 ? 8 : 16;
}

/* Element i of a lane's fragment of A: its row and its k. */
static void place_in_a(int bits, int lane, int i, int &row, int &k) {
    int group = lane >> 2, in_group = lane % 4;
    if (bits == 32) { /* m16n8k8 .tf32 */
        row = i == 0 || i == 2 ? group : group + 8;
        k = i < 2 ? in_group : in_group + 4;
    } else if (bits == 16) { /* m16n8k16 .f16 .bf16 */
        row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
        k = in_group * 2 + (i & 1) + (i < 4 ? 0 : 8);
    } else { /* m16n8k32 .s8 .e4m3 */
        row = i < 4 || (8 <= i && i < 12) ? group : group + 8;
        k = in_group * 4 + (i & 3) + (i < 8 ? 0 : 16);
    }
}

/* Element i of a lane's fragment of B: its k; its column is the lane's group. */
static int k_in_b(int bits, int lane, int i) {
    int in_group = lane % 4;
    if (bits == 32) return i == 0 ? in_group : in_group + 4;
    if (bits == 16) return in_group * 2 + (i & 1) + (i < 2 ? 0 : 8);
    return in_group * 4 + (i & 3) + (i < 4 ? 0 : 16);
}

static double value_of(Element element, uint32_t bits) {
    float value;
    int exponent, mantissa;
    switch (element) {
    case TF32: bits &= 0xffffe000u; break; /* the lower mantissa bits are not looked at */
    case BF16: bits <<= 16; break;
    case INT8: return (int8_t)bits;
    case E4M3: /* no infinity; bias 7 */
        exponent = bits >> 3 & 15, mantissa = bits & 7;
        value = exponent == 15 && mantissa == 7 ? __builtin_nanf("")
                : exponent                      ? ldexpf(mantissa | 8, exponent - 10)
                                                : ldexpf(mantissa, -9);
        return bits & 0x80u ? -value : value;
    default: return fp16_to_fp32(bits);
    }
    memcpy(&value, &bits, 4);
    return value;
}

static int exponent_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return (int)(bits >> 52 & 0x7ff) - 1023;
}

static double power_of_two(int exponent) {
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

/* Cuts a value off behind `fraction` bits of mantissa, toward zero. */
static double cut(double value, int fraction) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    bits &= ~0ull << (52 - fraction);
    memcpy(&value, &bits, 8);
    return value;
}

static double fused_sum(const double *products, int count, double sum, int fraction) {
    int most = exponent_of(sum);
    for (int i = 0; i < count; i++) {
        int exponent = exponent_of(products[i]);
        if (exponent > most) most = exponent;
    }
    if (most < -900) return 0.0; /* zeros */
    if (most == 1024) { /* infinities and not-a-numbers */
        for (int i = 0; i < count; i++) sum += products[i];
        return sum;
    }
    double scale = power_of_two(fraction - most), unit = power_of_two(most - fraction);
    int64_t total = (int64_t)(sum * scale);
    for (int i = 0; i < count; i++) total += (int64_t)(products[i] * scale);
    return cut((double)total * unit, fraction < 23 ? fraction : 23);
}

/* D = A * B + C for the 32 lanes. `fraction` is F of the model: 13 fp8 units of Ada and Hopper; 23 and more others. */
static void warp_mma(Operation *const (&lanes)[32], int fraction) {
    const Element element = lanes[0]->element;
    const int bits = element_bits(element), per = 32 / bits, depth = 256 / bits;
    const uint32_t mask = ~0u >> (32 - bits);
    static double a[16][32], b[8][32], c[16][8], d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const Operation &operation = *lanes[lane];
        for (int i = 0; i < 4 * per; i++) {
            int row, k;
            place_in_a(bits, lane, i, row, k);
            a[row][k] = value_of(element, operation.a[i / per] >> (i % per * bits) & mask);
        }
        for (int i = 0; i < 2 * per; i++)
            b[lane >> 2][k_in_b(bits, lane, i)] = value_of(element, operation.b[i / per] >> (i % per * bits) & mask);
        for (int i = 0; i < 4; i++) {
            double &to = c[(lane >> 2) + i / 2 * 8][lane % 4 * 2 + i % 2];
            float value;
            memcpy(&value, &operation.c[i], 4);
            to = element == INT8 ? (double)(int32_t)operation.c[i] : value;
        }
    }
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++) {
            double products[32], sum = c[row][column];
            for (int k = 0; k < depth; k++) products[k] = a[row][k] * b[column][k];
            if (element == INT8) /* exact in a double; cut to the register below */
                for (int k = 0; k < depth; k++) sum += products[k];
            else
                sum = fused_sum(products, depth, sum, fraction);
            d[row][column] = sum;
        }
    for (int lane = 0; lane < 32; lane++) {
        uint32_t *to = lanes[lane]->d;
        for (int i = 0; i < 4; i++) {
            double from = d[(lane >> 2) + i / 2 * 8][lane % 4 * 2 + i % 2];
            float value = (float)from;
            if (element == INT8)
                to[i] = (uint32_t)(int64_t)from; /* wraps */
            else
                memcpy(&to[i], &value, 4);
        }
    }
}
