/* Runs a kernel as the host's code: before the kernel's text, which is compiled with BC_HOST (boxcheck/kernels/prelude.h).
 *
 * Each work-item is a coroutine; a barrier gives the word to the next one of the group. Groups run one after the other. */
#include <stddef.h>
#include <stdlib.h>
#include <ucontext.h>

#define ITEMS 256
#define STACK_BYTES (64 << 10)

thread_local unsigned bc_lid, bc_group;
static ucontext_t ground, items[ITEMS];
static unsigned char *stacks;
static int running[ITEMS];
static void (*body)(void *);
static void *given;

void bc_barrier(void) {
    unsigned me = bc_lid;
    swapcontext(&items[me], &ground);
    bc_lid = me;
}
unsigned bc_count(volatile unsigned *p) { return (*p)++; }

static void item(void) {
    unsigned me = bc_lid;
    body(given);
    running[me] = 0;
    swapcontext(&items[me], &ground);
}

static void run_groups(unsigned groups, void (*kernel)(void *), void *arguments) {
    if (!stacks) stacks = (unsigned char *)malloc((size_t)ITEMS * STACK_BYTES);
    body = kernel;
    given = arguments;
    for (bc_group = 0; bc_group < groups; bc_group++) {
        int left = 1;
        for (unsigned i = 0; i < ITEMS; i++) {
            getcontext(&items[i]);
            items[i].uc_stack.ss_sp = stacks + (size_t)i * STACK_BYTES;
            items[i].uc_stack.ss_size = STACK_BYTES;
            items[i].uc_link = NULL;
            makecontext(&items[i], item, 0);
            running[i] = 1;
        }
        while (left) {
            left = 0;
            for (unsigned i = 0; i < ITEMS; i++)
                if (running[i]) {
                    bc_lid = i;
                    swapcontext(&ground, &items[i]);
                    left |= running[i];
                }
        }
    }
}

struct entry {
    const char *name;
    const char *kinds;
    const size_t *offsets;
    size_t size;
    void (*run)(unsigned groups, void *arguments);
};

/* A parameter that is a pointer, to whatever the kernel says. */
struct bc_any {
    void *at;
    template <class T> operator T *() const { return (T *)at; }
};
