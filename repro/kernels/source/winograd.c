/* Winograd's minimal filtering F(4x4, 3x3): Lavin and Gray 2016, section 4.3, for 3x3 convolutions with padding 1.
 *
 * Y = A^T [(G g G^T) * (B^T d B)] A needs 36 products a tile of 16 outputs where direct convolution needs 144. The
 * products of all tiles are 36 matrix products, which are not made here; these are the transforms around them.
 */
#include "common.h"

#define CHUNK 64 /* channels transformed at once, so that what lies between two passes stays in the first cache */

#define INPUT_1D(v, r0, r1, r2, r3, r4, r5)          \
    r0 = 4 * v[0] - 5 * v[2] + v[4];                 \
    r1 = (v[4] - 4 * v[2]) + (v[3] - 4 * v[1]);      \
    r2 = (v[4] - 4 * v[2]) - (v[3] - 4 * v[1]);      \
    r3 = (v[4] - v[2]) + 2 * (v[3] - v[1]);          \
    r4 = (v[4] - v[2]) - 2 * (v[3] - v[1]);          \
    r5 = 4 * v[1] - 5 * v[3] + v[5];

#define OUTPUT_1D(v, r0, r1, r2, r3)                       \
    r0 = v[0] + (v[1] + v[2]) + (v[3] + v[4]);             \
    r1 = (v[1] - v[2]) + 2 * (v[3] - v[4]);                \
    r2 = (v[1] + v[2]) + 4 * (v[3] + v[4]);                \
    r3 = (v[1] - v[2]) + 8 * (v[3] - v[4]) + v[5];

#define GRADIENT_1D(v, r0, r1, r2, r3, r4, r5)             \
    r0 = v[0];                                             \
    r1 = (v[0] + v[2]) + (v[1] + v[3]);                    \
    r2 = (v[0] + v[2]) - (v[1] + v[3]);                    \
    r3 = (v[0] + 4 * v[2]) + (2 * v[1] + 8 * v[3]);        \
    r4 = (v[0] + 4 * v[2]) - (2 * v[1] + 8 * v[3]);        \
    r5 = v[3];

#define T float
#define SUFFIX f32
#define LOAD load_f32
#define STORE store_f32
#include "winograd_body.h"
#undef T
#undef SUFFIX
#undef LOAD
#undef STORE

#define T bf16
#define SUFFIX bf16
#define LOAD load_bf16
#define STORE store_bf16
#include "winograd_body.h"

#define WEIGHT_1D(v, r0, r1, r2, r3, r4, r5)                          \
    r0 = v[0] * (1.0f / 4);                                           \
    r1 = (v[0] + v[2] + v[1]) * (-1.0f / 6);                          \
    r2 = (v[0] + v[2] - v[1]) * (-1.0f / 6);                          \
    r3 = (v[0] + 4 * v[2] + 2 * v[1]) * (1.0f / 24);                  \
    r4 = (v[0] + 4 * v[2] - 2 * v[1]) * (1.0f / 24);                  \
    r5 = v[2];

#define WEIGHT_GRADIENT_1D(v, r0, r1, r2)                                        \
    r0 = v[0] * (1.0f / 4) - (v[1] + v[2]) * (1.0f / 6) + (v[3] + v[4]) * (1.0f / 24); \
    r1 = (v[2] - v[1]) * (1.0f / 6) + (v[3] - v[4]) * (1.0f / 12);               \
    r2 = (v[3] + v[4] - v[1] - v[2]) * (1.0f / 6) + v[5];

typedef struct {
    const float *from;
    float *to;
    long filters;
} filter_job;

static void weight_part(void *context, int index, long first, long last) {
    filter_job *job = context;
    long filters = job->filters;
    float half[6][3][CHUNK];
    for (long chunk = first; chunk < last; chunk++) {
        long f0 = chunk * CHUNK, count = filters - f0 < CHUNK ? filters - f0 : CHUNK;
        for (int j = 0; j < 3; j++) {
            const float *restrict g = job->from + j * filters + f0;
            INDEPENDENT
            for (long f = 0; f < count; f++) {
                float v[3] = {g[f], g[3 * filters + f], g[6 * filters + f]};
                WEIGHT_1D(v, half[0][j][f], half[1][j][f], half[2][j][f], half[3][j][f], half[4][j][f], half[5][j][f])
            }
        }
        for (int i = 0; i < 6; i++) {
            float *restrict out = job->to + 6 * i * filters + f0;
            INDEPENDENT
            for (long f = 0; f < count; f++) {
                float v[3] = {half[i][0][f], half[i][1][f], half[i][2][f]};
                WEIGHT_1D(v, out[f], out[filters + f], out[2 * filters + f], out[3 * filters + f],
                          out[4 * filters + f], out[5 * filters + f])
            }
        }
    }
    (void)index;
}

static void weight_gradient_part(void *context, int index, long first, long last) {
    filter_job *job = context;
    long filters = job->filters;
    float half[3][6][CHUNK];
    for (long chunk = first; chunk < last; chunk++) {
        long f0 = chunk * CHUNK, count = filters - f0 < CHUNK ? filters - f0 : CHUNK;
        for (int j = 0; j < 6; j++) {
            const float *restrict u = job->from + j * filters + f0;
            INDEPENDENT
            for (long f = 0; f < count; f++) {
                float v[6] = {u[f],
                              u[6 * filters + f],
                              u[12 * filters + f],
                              u[18 * filters + f],
                              u[24 * filters + f],
                              u[30 * filters + f]};
                WEIGHT_GRADIENT_1D(v, half[0][j][f], half[1][j][f], half[2][j][f])
            }
        }
        for (int i = 0; i < 3; i++) {
            float *restrict out = job->to + 3 * i * filters + f0;
            INDEPENDENT
            for (long f = 0; f < count; f++) {
                float v[6] = {half[i][0][f], half[i][1][f], half[i][2][f],
                              half[i][3][f], half[i][4][f], half[i][5][f]};
                WEIGHT_GRADIENT_1D(v, out[f], out[filters + f], out[2 * filters + f])
            }
        }
    }
    (void)index;
}

/* G g G^T of every filter: weights [3, 3, filters] to planes [36, filters]. */
int winograd_weight(const float *weights, long filters, float *planes, int threads) {
    filter_job job = {weights, planes, filters};
    in_parallel(weight_part, &job, (filters + CHUNK - 1) / CHUNK, threads);
    return 0;
}

/* Its adjoint G^T u G: planes [36, filters] to weights [3, 3, filters]. */
int winograd_weight_gradient(const float *planes, long filters, float *weights, int threads) {
    filter_job job = {planes, weights, filters};
    in_parallel(weight_gradient_part, &job, (filters + CHUNK - 1) / CHUNK, threads);
    return 0;
}
