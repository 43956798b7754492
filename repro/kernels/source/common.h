/* What every kernel shares: bfloat16, the split of work over threads, and how a file is built for both element types.
 *
 * A tensor is rows of `channels` contiguous elements: channels_last images [N, C, H, W] have N H W rows, features
 * [N, F] have N. Arithmetic is FP32 whatever the elements; sums over rows end in double. Loops over channels are
 * written so that a compiler vectorises them without fast-math: NaN and infinity go through as in torch.
 */
#ifndef REPRO_COMMON_H
#define REPRO_COMMON_H
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 64
#define JOIN_(name, suffix) name##_##suffix
#define JOIN(name, suffix) JOIN_(name, suffix)
#define NAME(name) JOIN(name, SUFFIX)

/* Before a loop over channels whose pointers never overlap: the compiler then needs no checks at run time. */
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

typedef uint16_t bf16;

static inline float load_bf16(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

/* To nearest, ties to even, as torch; a NaN stays one whatever its payload. */
static inline bf16 store_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bf16)(value != value ? 0x7fc0u : rounded);
}

static inline float load_f32(float value) { return value; }
static inline float store_f32(float value) { return value; }

/* Calls part(context, index, first, last) for `threads` shares of 0..items: as threads, the last in the caller's. */
typedef void (*part_function)(void *context, int index, long first, long last);

typedef struct {
    part_function part;
    void *context;
    int index;
    long first, last;
} share;

static void *run_share(void *argument) {
    share *own = argument;
    own->part(own->context, own->index, own->first, own->last);
    return NULL;
}

/* torch's own OpenMP, where it has been loaded for all: threads beside its pool would fight over the cores with its
 * members, which spin for a while after each of torch's operators. */
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
extern int omp_get_thread_num(void) __attribute__((weak));
extern int omp_get_num_threads(void) __attribute__((weak));

typedef struct {
    share *shares;
    int count;
} team;

static void run_member(void *argument) {
    team *all = argument;
    int members = omp_get_num_threads(); /* may be fewer than asked for */
    for (int index = omp_get_thread_num(); index < all->count; index += members) run_share(&all->shares[index]);
}

static void in_parallel(part_function part, void *context, long items, int threads) {
    pthread_t started[MAX_THREADS];
    share shares[MAX_THREADS];
    int running[MAX_THREADS] = {0};
    for (int index = 0; index < threads; index++)
        shares[index] = (share){part, context, index, items * index / threads, items * (index + 1) / threads};
    if (threads > 1 && GOMP_parallel && omp_get_thread_num && omp_get_num_threads) {
        team all = {shares, threads};
        GOMP_parallel(run_member, &all, (unsigned)threads, 0);
        return;
    }
    for (int index = 0; index < threads - 1; index++)
        running[index] = !pthread_create(&started[index], NULL, run_share, &shares[index]);
    for (int index = 0; index < threads; index++) /* the last is the caller's; where no thread is to be had, in turn */
        if (!running[index]) run_share(&shares[index]);
    for (int index = 0; index < threads; index++)
        if (running[index]) pthread_join(started[index], NULL);
}

#endif
