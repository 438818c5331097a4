/* Runs the kernel once: emulate ELEMENT M N K GROUPS THREADS CLUSTER SHARED_BYTES ORDER SEED, then of A and of B
 * ELEMENT_BYTES ROWS K ROW_BYTES BOX_ROWS BOX_K; the bytes of A and of B come on standard input, C goes to standard
 * output. */
#include "machine.h"

#include <cstdio>
#include <cstdlib>

static std::vector<uint8_t> read_bytes(size_t count) {
    std::vector<uint8_t> bytes(count);
    if (fread(bytes.data(), 1, count, stdin) != count) fault("usage", "standard input is too short");
    return bytes;
}

int main(int argc, char **argv) {
    if (argc != 23) fault("usage", "22 numbers are wanted, not %d", argc - 1);
    std::vector<u64> given;
    for (int i = 1; i < argc; i++) given.push_back(strtoull(argv[i], nullptr, 10));
    Machine &m = machine;
    m.element = given[0], m.m = given[1], m.n = given[2], m.k = given[3], m.groups = given[4], m.threads = given[5];
    m.cluster = given[6], m.shared_bytes = given[7], m.order = given[8];
    m.random.seed(given[9]);
    std::vector<uint8_t> data[2];
    for (int side = 0; side < 2; side++) {
        const u64 *of = &given[10 + side * 6];
        Map &map = side ? m.map_b : m.map_a;
        data[side] = read_bytes(of[1] * of[3]);
        map = Map{data[side].data(), (u32)of[1], (u32)of[2], (u32)of[0], (u32)of[4], (u32)of[5], of[3]};
    }
    if (m.groups % m.cluster) fault("usage", "%u groups do not make clusters of %u", m.groups, m.cluster);
    m.c.assign((size_t)m.m * m.n, 0xeeeeeeee);
    m.written.assign(m.c.size(), 0);
    m.run();
    for (size_t i = 0; i < m.written.size(); i++)
        if (!m.written[i]) fault("store", "element %zu of C was not written", i);
    fwrite(m.c.data(), 4, m.c.size(), stdout);
    fprintf(stderr, "copies %llu, products %llu, switches %llu\n", m.landed, m.products, m.switches);
    return 0;
}
