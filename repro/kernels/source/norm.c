/* Batch norm with ReLU, and with 2x2 max-pooling before ReLU, forwards and backwards in two passes each.
 *
 * Batch norm is monotone in each channel, so the largest of its four outputs comes from the largest input (the smallest
 * where the scale is negative, the first where it is zero): the pooled *input* is taken while the moments are
 * measured, and everything after works on a quarter of the rows.
 */
#include "common.h"

#define BLOCK_ELEMENTS 8192 /* rows summed in FP32 before they join a double: fits the first cache */

typedef struct {
    double count, *mean, *square;
} moments;

typedef struct {
    moments totals[MAX_THREADS];
    double *doubles;
    float *scratch;
} workspace;

static long block_rows(long channels) {
    long rows = BLOCK_ELEMENTS / channels;
    return rows < 1 ? 1 : rows;
}

static int open_workspace(workspace *space, long channels, int threads) {
    space->doubles = calloc(2 * channels * threads, sizeof(double));
    space->scratch = calloc(2 * channels * threads, sizeof(float));
    if (!space->doubles || !space->scratch) {
        free(space->doubles);
        free(space->scratch);
        return 0;
    }
    for (int index = 0; index < threads; index++)
        space->totals[index] = (moments){0, space->doubles + 2 * channels * index,
                                         space->doubles + 2 * channels * index + channels};
    return 1;
}

static void close_workspace(workspace *space) {
    free(space->doubles);
    free(space->scratch);
}

static void finish_moments(workspace *space, long channels, int threads, float *mean, float *variance) {
    moments *total = &space->totals[0];
    for (int index = 1; index < threads; index++) {
        moments *other = &space->totals[index];
        if (other->count == 0) continue;
        double count = total->count + other->count, share = other->count / count;
        for (long c = 0; c < channels; c++) {
            double distance = other->mean[c] - total->mean[c];
            total->mean[c] += distance * share;
            total->square[c] += other->square[c] + distance * distance * total->count * share;
        }
        total->count = count;
    }
    for (long c = 0; c < channels; c++) {
        mean[c] = (float)total->mean[c];
        variance[c] = (float)(total->square[c] / total->count);
    }
    close_workspace(space);
}

/* Of two inputs the one with the larger output; one that makes the output NaN wins, as infinity does times zero. */
static inline float better(float next, float best, float sign) {
    float product = next * sign;
    return product > best * sign || product != product ? next : best;
}

/* ReLU's gradient; its argument is read in any case, else no compiler vectorises the loop. */
static inline float passed(float gradient, float value) { return value <= 0 ? 0 : gradient; }

/* The gradient for the first value that equals the best, 0 for others; in bits, else no compiler vectorises the loop. */
static inline float take(float gradient, float value, float best, uint32_t *left) {
    uint32_t bits, hit = *left & -(uint32_t)(value == best);
    memcpy(&bits, &gradient, 4);
    bits &= hit;
    *left &= ~hit;
    memcpy(&gradient, &bits, 4);
    return gradient;
}

#define T float
#define SUFFIX f32
#define LOAD load_f32
#define STORE store_f32
#include "norm_body.h"
#undef T
#undef SUFFIX
#undef LOAD
#undef STORE

#define T bf16
#define SUFFIX bf16
#define LOAD load_bf16
#define STORE store_bf16
#include "norm_body.h"
