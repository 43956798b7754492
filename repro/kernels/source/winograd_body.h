/* The transforms over images of elements T; included by winograd.c once a type. */

typedef struct {
    const T *images;
    T *output;
    float *planes;
    const float *bias;
    long height, width, channels, tiles;
} NAME(tile_job);

/* Tile `tile` of an image cut into 4x4: its image's first row, and where it begins. */
#define TILE_PLACE                                                                       \
    long across = job->width / 4, down = job->height / 4, n = tile / (across * down);    \
    long top = tile / across % down * 4, left = tile % across * 4, channels = job->channels

/* planes[6 i + j][tile] = (B^T d B)[i][j], d the 6x6 around the tile, zero outside of the image. */
static void NAME(input_part)(void *context, int index, long first, long last) {
    NAME(tile_job) *job = context;
    float half[6][6][CHUNK];
    static const T outside[CHUNK];
    for (long tile = first; tile < last; tile++) {
        TILE_PLACE;
        for (long c0 = 0; c0 < channels; c0 += CHUNK) {
            long count = channels - c0 < CHUNK ? channels - c0 : CHUNK;
            for (int j = 0; j < 6; j++) {
                const T *d[6];
                for (int i = 0; i < 6; i++) {
                    long y = top + i - 1, x = left + j - 1;
                    int inside = y >= 0 && y < job->height && x >= 0 && x < job->width;
                    d[i] = inside ? job->images + ((n * job->height + y) * job->width + x) * channels + c0 : outside;
                }
                const T *restrict d0 = d[0], *restrict d1 = d[1], *restrict d2 = d[2];
                const T *restrict d3 = d[3], *restrict d4 = d[4], *restrict d5 = d[5];
                INDEPENDENT
                for (long c = 0; c < count; c++) {
                    float v[6] = {LOAD(d0[c]), LOAD(d1[c]), LOAD(d2[c]), LOAD(d3[c]), LOAD(d4[c]), LOAD(d5[c])};
                    INPUT_1D(v, half[0][j][c], half[1][j][c], half[2][j][c], half[3][j][c], half[4][j][c],
                             half[5][j][c])
                }
            }
            for (int i = 0; i < 6; i++) {
                float *restrict out = job->planes + (6 * i * job->tiles + tile) * channels + c0;
                long plane = job->tiles * channels;
                INDEPENDENT
                for (long c = 0; c < count; c++) {
                    float v[6] = {half[i][0][c], half[i][1][c], half[i][2][c],
                                  half[i][3][c], half[i][4][c], half[i][5][c]};
                    INPUT_1D(v, out[c], out[plane + c], out[2 * plane + c], out[3 * plane + c], out[4 * plane + c],
                             out[5 * plane + c])
                }
            }
        }
    }
    (void)index;
}

/* images[4x4 tile] = A^T m A + bias, m the tile's 6x6 over planes. */
static void NAME(output_part)(void *context, int index, long first, long last) {
    NAME(tile_job) *job = context;
    float half[4][6][CHUNK];
    for (long tile = first; tile < last; tile++) {
        TILE_PLACE;
        for (long c0 = 0; c0 < channels; c0 += CHUNK) {
            long count = channels - c0 < CHUNK ? channels - c0 : CHUNK, plane = job->tiles * channels;
            for (int j = 0; j < 6; j++) {
                const float *restrict m = job->planes + (j * job->tiles + tile) * channels + c0;
                INDEPENDENT
                for (long c = 0; c < count; c++) {
                    float v[6] = {m[c], m[6 * plane + c], m[12 * plane + c], m[18 * plane + c], m[24 * plane + c],
                                  m[30 * plane + c]};
                    OUTPUT_1D(v, half[0][j][c], half[1][j][c], half[2][j][c], half[3][j][c])
                }
            }
            for (int i = 0; i < 4; i++) {
                T *restrict out = job->output + ((n * job->height + top + i) * job->width + left) * channels + c0;
                const float *restrict bias = job->bias + c0;
                INDEPENDENT
                for (long c = 0; c < count; c++) {
                    float v[6] = {half[i][0][c], half[i][1][c], half[i][2][c],
                                  half[i][3][c], half[i][4][c], half[i][5][c]};
                    float y[4];
                    OUTPUT_1D(v, y[0], y[1], y[2], y[3])
                    out[c] = STORE(y[0] + bias[c]);
                    out[channels + c] = STORE(y[1] + bias[c]);
                    out[2 * channels + c] = STORE(y[2] + bias[c]);
                    out[3 * channels + c] = STORE(y[3] + bias[c]);
                }
            }
        }
    }
    (void)index;
}

/* planes[6 i + j][tile] = (A g A^T)[i][j], g the 4x4 gradient of a tile: the output transform's adjoint. */
static void NAME(gradient_part)(void *context, int index, long first, long last) {
    NAME(tile_job) *job = context;
    float half[6][4][CHUNK];
    for (long tile = first; tile < last; tile++) {
        TILE_PLACE;
        for (long c0 = 0; c0 < channels; c0 += CHUNK) {
            long count = channels - c0 < CHUNK ? channels - c0 : CHUNK, row = job->width * channels;
            for (int j = 0; j < 4; j++) {
                const T *restrict g = job->images + ((n * job->height + top) * job->width + left + j) * channels + c0;
                INDEPENDENT
                for (long c = 0; c < count; c++) {
                    float v[4] = {LOAD(g[c]), LOAD(g[row + c]), LOAD(g[2 * row + c]), LOAD(g[3 * row + c])};
                    GRADIENT_1D(v, half[0][j][c], half[1][j][c], half[2][j][c], half[3][j][c], half[4][j][c],
                                half[5][j][c])
                }
            }
            for (int i = 0; i < 6; i++) {
                float *restrict out = job->planes + (6 * i * job->tiles + tile) * channels + c0;
                long plane = job->tiles * channels;
                INDEPENDENT
                for (long c = 0; c < count; c++) {
                    float v[4] = {half[i][0][c], half[i][1][c], half[i][2][c], half[i][3][c]};
                    GRADIENT_1D(v, out[c], out[plane + c], out[2 * plane + c], out[3 * plane + c], out[4 * plane + c],
                                out[5 * plane + c])
                }
            }
        }
    }
    (void)index;
}

/* images [N, height, width, channels], planes [36, tiles, channels] with tiles = N height / 4 width / 4. */
int NAME(winograd_input)(const T *images, long tiles, long height, long width, long channels, float *planes,
                         int threads) {
    NAME(tile_job) job = {.images = images, .planes = planes, .height = height, .width = width, .channels = channels,
                          .tiles = tiles};
    in_parallel(NAME(input_part), &job, tiles, threads);
    return 0;
}

int NAME(winograd_gradient)(const T *images, long tiles, long height, long width, long channels, float *planes,
                            int threads) {
    NAME(tile_job) job = {.images = images, .planes = planes, .height = height, .width = width, .channels = channels,
                          .tiles = tiles};
    in_parallel(NAME(gradient_part), &job, tiles, threads);
    return 0;
}

int NAME(winograd_output)(T *images, long tiles, long height, long width, long channels, float *planes,
                          const float *bias, int threads) {
    NAME(tile_job) job = {.output = images, .planes = planes, .bias = bias, .height = height, .width = width,
                          .channels = channels, .tiles = tiles};
    in_parallel(NAME(output_part), &job, tiles, threads);
    return 0;
}
