/* A driver of paper: devices whose memory is the host's, whose queues do nothing until somebody waits for them, and whose
 * clock is counted and not measured. libcuda.so.1 and libamdhip64.so are thin skins over it (cuda.c, hip.c).
 *
 * Work runs as late as it may and, over several queues, in the least convenient order: the queue made last goes first. So
 * what forgets to wait, or to make one queue wait for another, reads wrong bytes.
 *
 * Codes are CUDA's; those of HIP that are used here have the same numbers.
 *
 * A process that tests cannot reach into is scripted by its environment: MOCK_DEVICES and MOCK_BUDGET (bytes each),
 * MOCK_FAULTS (`cuMemAlloc:2:999` makes the third call give 999; several with commas; kernels that run are `kernel`),
 * MOCK_VANISH (`0:5`: device 0 is gone after five kernels), MOCK_KERNELS (a library of host kernels, or a folder of them, from
 * which the one is taken whose kernels are all in the code). */
#ifndef MOCK_CORE_H
#define MOCK_CORE_H
#include <stddef.h>
#include <stdint.h>

#define MOST_DEVICES 8
#define MOST_PARAMS 24
#define NO_DEVICE (-1)

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NO_GPU = 100, INVALID_IMAGE = 200,
       INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, INVALID_CONTEXT = 201,
       PEER_UNSUPPORTED = 217, PEER_ALREADY = 704, UNKNOWN = 999 };

/* What a library of host kernels (build.py) exports as `mock_entries`, ended by a null name. */
struct entry {
    const char *name;
    const char *kinds; /* a letter a parameter: b buffer, q u64, u u32, i i32, f f32, m tensor map */
    const size_t *offsets;
    size_t size;
    void (*run)(unsigned groups, void *arguments);
};

struct device {
    int major, minor, units, integrated;
    int64_t budget, used;
    int sticky;                /* the code that every call gives from now on */
    int gone;                  /* fell off the bus */
    int kernels_left;          /* falls off when so many kernels have run; negative: never */
    int retained;
    int peers[MOST_DEVICES];   /* this one may use that one's memory */
    int reach[MOST_DEVICES];   /* the hardware would let it */
};

struct stream { struct stream *next; int device; struct op *first, *last; uint64_t put, done; double seconds; int live; };
struct event { struct event *next; int device; struct stream *in; uint64_t at; double seconds; int live; };
struct module { struct module *next; int device; void *library; const struct entry *entries; const char *code; int live; };
struct function { struct function *next; struct module *of; const struct entry *entry; int64_t shared; };

extern struct device devices[MOST_DEVICES];
extern int device_count, driver_version;
extern _Thread_local int current;

/* A fault that the test asked for: the code to give now, else 0. Every function of a skin begins with it. */
int fault(const char *call);
/* The code that the current device gives whatever it is asked: gone, broken, or none. */
int state(void);

int take(int64_t size, void **address, int host);
int give(void *address, int host);
struct stream *new_stream(void);
int drop_stream(struct stream *s);
struct event *new_event(void);
int drop_event(struct event *e);
int record(struct event *e, struct stream *s);
int hold(struct stream *s, struct event *e);
int elapsed(struct event *a, struct event *b, float *milliseconds);
int wait_event(struct event *e);
int wait_stream(struct stream *s);
int wait_device(void);
/* Queues a copy. `to` and `of` are devices, NO_DEVICE for the host's memory. */
int queue_copy(struct stream *s, void *target, int to, const void *source, int of, size_t size);
/* `size` of the code, 0 where it ends with a null byte. */
int load(const void *code, size_t size, struct module **module);
int unload(struct module *m);
int find(struct module *m, const char *name, struct function **f);
/* Queues a kernel. `pointers` (CUDA) or `packed` with its size (HIP) hold the arguments. */
int queue_kernel(struct function *f, unsigned groups, unsigned group, struct stream *s, void **pointers, void *packed,
    size_t packed_size);
int allow_peer(int other);

/* For a library of paper that works on queues of several devices at once (mock_blas/nccl.c). When the first of the queues
 * comes to its place, all others come to theirs; then `all` is called once, and `each` as each queue goes on. So nothing is
 * in a rank's memory before that rank's own queue is there. */
struct meeting {
    int count, met;
    struct stream *queues[MOST_DEVICES];
    uint64_t at[MOST_DEVICES];
    double seconds;
    void (*all)(struct meeting *), (*each)(struct meeting *, int rank);
    void *given;
};
int mock_meet(struct meeting *m, const int *on, double cost);
/* Whether the memory is that device's own. */
int mock_within(const void *address, size_t size, int device);
void forget_device(int device);
#endif
