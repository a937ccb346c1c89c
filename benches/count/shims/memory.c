/* Instead of the C library's malloc: the same number of instructions for every request of a size, whatever was
 * allocated before. And it counts the requests; with PYTHONMALLOC=malloc they are the interpreter's as well.
 *
 * Freed blocks of a size are stacked, and the next request of that size takes the uppermost. New ones are cut off a
 * range that is never given back. A real allocator is as fast, but what a request costs it depends on how full a pool
 * happens to be: 25 instructions, for one, in each turn of a loop that makes a float. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { UNIT = 16, SMALL = 2048 / UNIT, SIZES = SMALL + 8 * 64 };
static const size_t RANGE = (size_t)1 << 33; /* of addresses; pages come when they are used */

struct block {
    size_t capacity;    /* of what follows, in bytes */
    struct block *next; /* of the free ones; in use, where the block begins if that is not here */
};

static struct block *stacks[SIZES];
static char *unused;
static size_t gap; /* between two new blocks: other addresses, other collisions in the interpreter's tables */
static long long requests;
static atomic_flag busy = ATOMIC_FLAG_INIT;

__attribute__((constructor)) static void lay_out(void) {
    const char *layout = getenv("COUNT_LAYOUT");
    gap = layout ? UNIT * (size_t)atoi(layout) : 0;
}

long long count_requests(void) { return requests; }

/* A program that does not know of us says it as it ends. */
__attribute__((destructor)) static void report(void) {
    if (getenv("COUNT_REPORT"))
        dprintf(1, "%lld\n", requests);
}

/* The stack for a size, which is rounded up: to 16 bytes, above 2 KiB to an eighth of the power of two below. */
static size_t stack_of(size_t *size) {
    size_t unit = UNIT, first = 0;
    if (*size > SMALL * UNIT) {
        int bits = 63 - __builtin_clzll(*size - 1);
        unit = (size_t)1 << (bits - 3);
        first = SMALL + 8 * (size_t)bits - 8;
    }
    size_t units = *size ? (*size + unit - 1) / unit : 1;
    *size = units * unit;
    return first + units - 1;
}

static void *take(size_t size) {
    if (size > RANGE / 4) {
        errno = ENOMEM;
        return NULL;
    }
    size_t stack = stack_of(&size);
    while (atomic_flag_test_and_set(&busy))
        ;
    requests++;
    struct block *block = stacks[stack];
    if (block) {
        stacks[stack] = block->next;
    } else {
        if (!unused)
            unused = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        block = (struct block *)unused;
        unused += sizeof *block + size + gap;
        block->capacity = size;
    }
    atomic_flag_clear(&busy);
    block->next = NULL;
    return block + 1;
}

static struct block *block_of(void *memory) { return (struct block *)memory - 1; }

static void *take_aligned(size_t alignment, size_t size) {
    if (alignment <= UNIT)
        return take(size);
    char *memory = take(size + alignment);
    if (!memory)
        return NULL;
    char *aligned = (char *)(((uintptr_t)memory + alignment) & ~(uintptr_t)(alignment - 1));
    block_of(aligned)->capacity = block_of(memory)->capacity - (size_t)(aligned - memory);
    block_of(aligned)->next = block_of(memory);
    return aligned;
}

void *malloc(size_t size) { return take(size); }

void free(void *memory) {
    if (!memory)
        return;
    struct block *block = block_of(memory);
    if (block->next)
        block = block->next;
    size_t capacity = block->capacity, stack = stack_of(&capacity);
    while (atomic_flag_test_and_set(&busy))
        ;
    block->next = stacks[stack];
    stacks[stack] = block;
    atomic_flag_clear(&busy);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *memory = take(bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *realloc(void *old, size_t size) {
    if (!old)
        return take(size);
    size_t capacity = block_of(old)->capacity;
    if (size <= capacity) {
        requests++;
        return old;
    }
    void *memory = take(size);
    if (memory) {
        memcpy(memory, old, capacity);
        free(old);
    }
    return memory;
}

void *aligned_alloc(size_t alignment, size_t size) { return take_aligned(alignment, size); }

void *memalign(size_t alignment, size_t size) { return take_aligned(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    *memory = take_aligned(alignment, size);
    return *memory ? 0 : ENOMEM;
}

size_t malloc_usable_size(void *memory) { return memory ? block_of(memory)->capacity : 0; }
