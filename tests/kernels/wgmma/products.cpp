/* wgmma: products of 64 rows that a warpgroup starts together and that end some time later.
 *
 * They are computed as late as a thread waits for them. Until then the registers of the sums hold rubbish, and the rows
 * of shared memory that they read count as being read. */
#include "emulator.h"
#include "machine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

static const u32 RUBBISH = 0x7fdeadbe; /* not a number */

/* An element's bits as a number, by the codes of boxcheck/kernels/matrix.py. */
static double widen(u32 element, const uint8_t *at) {
    u32 bits = 0;
    switch (element) {
    case 1: { /* tf32: the low 13 bits of the mantissa are not looked at */
        memcpy(&bits, at, 4);
        bits &= 0xffffe000u;
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
    case 2: {
        memcpy(&bits, at, 2);
        int exponent = bits >> 10 & 31, mantissa = bits & 1023;
        double value = exponent == 31 ? NAN
                       : exponent     ? std::ldexp(1024 + mantissa, exponent - 25)
                                      : std::ldexp(mantissa, -24);
        return bits >> 15 ? -value : value;
    }
    case 3: {
        memcpy(&bits, at, 2);
        bits <<= 16;
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
    case 4: return (int8_t)*at;
    case 5: {
        bits = *at;
        int exponent = bits >> 3 & 15, mantissa = bits & 7;
        double value = (bits & 127) == 127 ? NAN
                       : exponent          ? std::ldexp(8 + mantissa, exponent - 10)
                                           : std::ldexp(mantissa, -9);
        return bits >> 7 ? -value : value;
    }
    }
    fault("element", "no element has code %u", element);
}

static u32 element_bytes() { return machine.element == 1 ? 4 : machine.element < 4 ? 2 : 1; }

/* Rows of an operand, `rows` x 32 bytes, through its descriptor (PTX 9.7.15.5.1.2.2): the swizzle is applied to the
 * address that start, row and byte add up to. `mark` is called for each row of shared memory. */
template <typename Mark> static std::vector<double> operand(Group &group, u64 descriptor, u32 rows, Mark mark) {
    u32 start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
    u32 base_offset = descriptor >> 49 & 7, swizzle = descriptor >> 62;
    u64 defined = 0x3fffull | 0x3fffull << 16 | 0x3fffull << 32 | 7ull << 49 | 3ull << 62;
    if (descriptor & ~defined) fault("descriptor", "%016llx has undefined bits", descriptor);
    if (swizzle != 1 || base_offset)
        fault("descriptor", "%016llx is not of a 128-byte swizzle that begins at 1024 bytes", descriptor);
    u32 size = element_bytes(), across = 32 / size;
    std::vector<double> values(rows * across);
    for (u32 row = 0; row < rows; row++) {
        u32 plain = start + row / 8 * stride + row % 8 * 128;
        if (plain < SHARED_BASE || plain + 32 > SHARED_BASE + machine.shared_bytes || (plain & 127) > 96)
            fault("descriptor", "%016llx reaches to %u, outside of shared memory or over a row's end", descriptor,
                  plain);
        mark(group.rows[plain / 128], plain);
        for (u32 i = 0; i < across; i++) {
            u32 address = plain + i * size;
            address ^= (address >> 7 & 7) << 4;
            values[row * across + i] = widen(machine.element, &group.memory[address - SHARED_BASE]);
        }
    }
    return values;
}

/* Places of a warpgroup's sums (PTX 9.7.15.5.1.1.1, fragment D): warp w has rows 16 w to 16 w + 15. */
static u32 row_of(u32 thread, u32 sum) { return thread / 32 * 16 + thread % 32 / 4 + (sum & 2 ? 8 : 0); }
static u32 column_of(u32 thread, u32 sum) { return sum / 4 * 8 + thread % 4 * 2 + (sum & 1); }

/* fp8 on Hopper, simplified: products and the sum so far are cut off 13 bits below the largest of them, and so is the
 * result (arXiv 2511.10909). */
static double narrow_sum(double sum, const double *a, const double *b, u32 depth, u32 stride) {
    double most = std::fabs(sum);
    for (u32 i = 0; i < depth; i++) most = std::max(most, std::fabs(a[i] * b[i * stride]));
    if (most == 0) return 0;
    int exponent;
    std::frexp(most, &exponent);
    double unit = std::ldexp(1, exponent - 14), total = std::trunc(sum / unit);
    for (u32 i = 0; i < depth; i++) total += std::trunc(a[i] * b[i * stride] / unit);
    std::frexp(total, &exponent);
    double grain = std::ldexp(1, std::max(exponent - 14, 0));
    return std::trunc(total / grain) * grain * unit;
}

static void compute(Group &group, Product &product, u32 first) {
    auto nothing = [](Row &, u32) {};
    u32 columns = product.count * 2, depth = 32 / element_bytes();
    std::vector<double> a = operand(group, product.a, 64, nothing),
                        rows_of_b = operand(group, product.b, columns, nothing);
    std::vector<double> b(rows_of_b.size()), line(columns);
    double most_a = 0, most_b = 0;
    bool whole = true;
    for (double value : a) most_a = std::max(most_a, std::fabs(value)), whole = whole && value == std::trunc(value);
    for (u32 j = 0; j < columns; j++)
        for (u32 i = 0; i < depth; i++) {
            double value = b[i * columns + j] = rows_of_b[j * depth + i];
            most_b = std::max(most_b, std::fabs(value)), whole = whole && value == std::trunc(value);
        }
    std::vector<Sums *> sums;
    for (u32 thread = 0; thread < 128; thread++) {
        Sums *found = nullptr;
        for (Sums &busy : group.fibers[first + thread]->busy)
            if (busy.registers == product.registers[thread]) found = &busy;
        sums.push_back(found);
    }
    for (u32 row = 0; row < 64; row++) {
        std::fill(line.begin(), line.end(), 0.0);
        for (u32 i = 0; i < depth; i++)
            for (u32 j = 0; j < columns; j++) line[j] += a[row * depth + i] * b[i * columns + j];
        for (u32 lane = 0; lane < 4; lane++) {
            u32 thread = row / 16 * 32 + row % 8 * 4 + lane;
            for (u32 sum = row & 8 ? 2 : 0; sum < product.count; sum += sum & 1 ? 3 : 1) {
                u32 j = column_of(thread, sum);
                if (row_of(thread, sum) != row) fault("emulator", "row %u is not thread %u, sum %u", row, thread, sum);
                u32 &bits = sums[thread]->values[sum];
                if (machine.element == 4) {
                    bits = (product.keep ? bits : 0u) + (u32)(int32_t)line[j];
                    continue;
                }
                float before = 0, after;
                if (product.keep) memcpy(&before, &bits, 4);
                after = (float)(before + line[j]);
                bool exact =
                    whole && before == std::trunc(before) && depth * most_a * most_b + std::fabs(before) < 16384;
                if (machine.element == 5 && !exact)
                    after = (float)narrow_sum(before, &a[row * depth], &b[j], depth, columns);
                memcpy(&bits, &after, 4);
            }
        }
    }
    machine.products++;
}

void complete_products(Group &group, u32 which, u64 up_to) {
    Warpgroup &warpgroup = group.warpgroups[which];
    for (; warpgroup.complete < up_to; warpgroup.complete++) {
        Product &product = warpgroup.products[warpgroup.complete];
        compute(group, product, which * 128);
        product.registers.clear();
    }
}

void bc_products_fence() { machine.current->fenced = true; }

void emulated_multiply(void *registers, u32 count, u64 a, u64 b, u32 keep) {
    Fiber &fiber = *machine.current;
    Group &group = *fiber.group;
    Warpgroup &warpgroup = group.warpgroups[fiber.warpgroup()];
    if (fiber.issued == warpgroup.products.size())
        warpgroup.products.push_back(Product{a, b, keep, count, 0, std::vector<u32 *>(128)});
    Product &product = warpgroup.products[fiber.issued];
    if (product.a != a || product.b != b || product.count != count || !product.keep != !keep)
        fault("products", "threads of a warpgroup start different products");
    product.registers[fiber.thread % 128] = (u32 *)registers;
    fiber.issued++;
    Sums *sums = nullptr;
    for (Sums &busy : fiber.busy)
        if (busy.registers == registers) sums = &busy;
    if (!sums) {
        if (!fiber.fenced) fault("products", "no fence between the last use of registers and the product");
        fiber.busy.push_back(Sums{(u32 *)registers, std::vector<u32>((u32 *)registers, (u32 *)registers + count), 0});
        sums = &fiber.busy.back();
        std::fill((u32 *)registers, (u32 *)registers + count, RUBBISH);
    }
    sums->last = fiber.issued;
    u64 number = fiber.issued;
    auto mark = [&](Row &row, u32 address) {
        if (!row.landed) fault("race", "a product reads %u while a copy is under way", address);
        if (!row.barrier) fault("race", "a product reads %u, which nothing was copied to", address);
        if (fiber.clock.of(row.barrier) <= row.phase)
            fault("race", "a product reads %u, and its thread has not waited for the copy", address);
        u64 &last = row.read[warpgroup.source];
        last = std::max(last, number);
    };
    /* Every thread must have waited; one of each warp is looked at in full, the others by their clocks. */
    if (fiber.thread % 32 == 0 || product.issued == 0) {
        operand(group, a, 64, mark);
        operand(group, b, count * 2, mark);
    } else {
        for (u64 descriptor : {a, b}) {
            Row &row = group.rows[((descriptor & 0x3fff) << 4) / 128];
            if (fiber.clock.of(row.barrier) <= row.phase)
                fault("race", "a product's thread has not waited for the copy");
        }
    }
    if (++product.issued == 128) machine.wake(warpgroup.waiters);
}

void bc_products_commit() { machine.current->lots.push_back(machine.current->issued); }

void emulated_products_wait(u32 left) {
    Fiber &fiber = *machine.current;
    Group &group = *fiber.group;
    Warpgroup &warpgroup = group.warpgroups[fiber.warpgroup()];
    if (fiber.lots.size() <= left) return;
    u64 up_to = fiber.lots[fiber.lots.size() - 1 - left];
    while (up_to && warpgroup.products[up_to - 1].issued < 128) machine.block(warpgroup.waiters);
    complete_products(group, fiber.warpgroup(), up_to);
    fiber.clock.learn(warpgroup.source, up_to);
    for (size_t i = 0; i < fiber.busy.size();) {
        Sums &sums = fiber.busy[i];
        if (sums.last > up_to) {
            i++;
            continue;
        }
        memcpy(sums.registers, sums.values.data(), sums.values.size() * 4);
        fiber.busy.erase(fiber.busy.begin() + i);
        fiber.fenced = false;
    }
}
