/* A whole update of one parameter in one pass over memory: gradient clip, AdamW, weight clip and how far that moved.
 *
 * AdamW is torch's (Loshchilov and Hutter 2019, algorithm 2, decay scaled by the rate); rounding may differ in the last
 * bit. And the quantiser's pass: codes times scale.
 */
#include "common.h"

#define BLOCK 1024 /* weights between the optimiser and the clip, in the first cache */
#define TANH_POLYNOMIAL_END 0.625f

enum { CLIP_NONE, CLIP_TANH, CLIP_HARD };

typedef struct {
    float *weight, *first, *second, *moved;
    const float *gradient;
    float factor, decay, rest1, beta2, rest2, step_size, root_correction, epsilon, bound;
    long clip;
} update_job;

/* tanh x = x + x^3 p(x^2) for |x| < 0.625 (coefficients: Moshier, Cephes, tanhf), so that a small x loses no bit. */
static inline float small_tanh(float x) {
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return x + x * z * p;
}

static void soft_clip(float *restrict weight, float *restrict moved, long count, float bound) {
    int large = 0;
    for (long i = 0; i < count; i++) large |= !(fabsf(weight[i] / bound) < TANH_POLYNOMIAL_END);
    if (large) { /* or no number */
        for (long i = 0; i < count; i++) {
            float clipped = tanhf(weight[i] / bound) * bound;
            moved[i] += fabsf(weight[i] - clipped);
            weight[i] = clipped;
        }
        return;
    }
    INDEPENDENT
    for (long i = 0; i < count; i++) {
        float clipped = small_tanh(weight[i] / bound) * bound;
        moved[i] += fabsf(weight[i] - clipped);
        weight[i] = clipped;
    }
}

static void hard_clip(float *restrict weight, float *restrict moved, long count, float bound) {
    INDEPENDENT
    for (long i = 0; i < count; i++) {
        float clipped = weight[i] > bound ? bound : weight[i];
        clipped = clipped < -bound ? -bound : clipped;
        moved[i] += fabsf(weight[i] - clipped);
        weight[i] = clipped;
    }
}

static void adamw_block(const update_job *job, long from, long count) {
    float *restrict weight = job->weight + from, *restrict first = job->first + from;
    float *restrict second = job->second + from;
    const float *restrict gradient = job->gradient + from;
    float factor = job->factor, decay = job->decay;
    float rest1 = job->rest1, beta2 = job->beta2, rest2 = job->rest2;
    float step_size = job->step_size, root_correction = job->root_correction, epsilon = job->epsilon;
    INDEPENDENT
    for (long i = 0; i < count; i++) {
        float g = gradient[i] * factor;
        float m = first[i] + rest1 * (g - first[i]);
        float v = beta2 * second[i] + rest2 * g * g;
        first[i] = m;
        second[i] = v;
        weight[i] = weight[i] * decay - step_size * m / (sqrtf(v) / root_correction + epsilon);
    }
}

static void update_part(void *context, int index, long first, long last) {
    const update_job *job = context;
    for (long from = first; from < last; from += BLOCK) {
        long count = last - from < BLOCK ? last - from : BLOCK;
        adamw_block(job, from, count);
        if (job->clip == CLIP_TANH) soft_clip(job->weight + from, job->moved + from, count, job->bound);
        if (job->clip == CLIP_HARD) hard_clip(job->weight + from, job->moved + from, count, job->bound);
    }
    (void)index;
}

/* decay = 1 - rate * weight decay; rest1 = 1 - beta1, rest2 = 1 - beta2, each rounded once; step_size = rate / (1 - beta1^t); root_correction = sqrt(1 - beta2^t). */
int adamw_update(float *weight, const float *gradient, float *first, float *second, float *moved, long count,
                 float factor, float decay, float rest1, float beta2, float rest2, float step_size,
                 float root_correction, float epsilon, long clip, float bound, int threads) {
    update_job job = {weight, first, second, moved, gradient, factor, decay, rest1, beta2,
                      rest2, step_size, root_correction, epsilon, bound, clip};
    in_parallel(update_part, &job, count, threads);
    return 0;
}

typedef struct {
    const float *weight;
    float *output;
    float scale, largest;
} quantize_job;

static void quantize_part(void *context, int index, long first, long last) {
    const quantize_job *job = context;
    const float *restrict weight = job->weight;
    float *restrict output = job->output;
    float scale = job->scale, largest = job->largest;
    INDEPENDENT
    for (long i = first; i < last; i++) {
        float code = rintf(weight[i] / scale);
        code = code < -largest ? -largest : code; /* NaN stays */
        code = code > largest ? largest : code;
        output[i] = code * scale;
    }
    (void)index;
}

/* clamp(round(W / s), -q, q) s, half to even: the bits of torch's own operators. */
int fake_quantize(const float *weight, float *output, long count, const float *scale, float largest, int threads) {
    quantize_job job = {weight, output, *scale, largest};
    in_parallel(quantize_part, &job, count, threads);
    return 0;
}
