/* Batch norm, max-pooling over 2x2 and ReLU in one, for elements T; included by norm.c once a type. */

/* Adds the moments of `rows` rows to running ones (Chan, Golub and LeVeque 1979); block: 2 channels floats. */
static void NAME(add_moments)(const T *values, long rows, long channels, moments *total, float *block) {
    float *restrict mean = block, *restrict square = block + channels;
    for (long c = 0; c < channels; c++) mean[c] = square[c] = 0;
    for (long r = 0; r < rows; r++) {
        const T *restrict row = values + r * channels;
        for (long c = 0; c < channels; c++) mean[c] += LOAD(row[c]);
    }
    for (long c = 0; c < channels; c++) mean[c] /= (float)rows;
    for (long r = 0; r < rows; r++) {
        const T *restrict row = values + r * channels;
        INDEPENDENT
        for (long c = 0; c < channels; c++) {
            float distance = LOAD(row[c]) - mean[c];
            square[c] += distance * distance;
        }
    }
    double count = total->count + rows, share = rows / count, between = total->count * share;
    double *restrict total_mean = total->mean, *restrict total_square = total->square;
    INDEPENDENT
    for (long c = 0; c < channels; c++) {
        double distance = mean[c] - total_mean[c];
        total_mean[c] += distance * share;
        total_square[c] += square[c] + distance * distance * between;
    }
    total->count = count;
}

typedef struct {
    const T *values, *gradient, *pooled;
    T *output;
    long channels, height, width;
    const float *scale, *shift, *slope, *offset;
    const int8_t *sign;
    moments *totals;
    double *sums;
    float *scratch;
} NAME(job);

static void NAME(measure_part)(void *context, int index, long first, long last) {
    NAME(job) *job = context;
    long channels = job->channels, step = block_rows(channels);
    for (long row = first; row < last; row += step) {
        long rows = last - row < step ? last - row : step;
        NAME(add_moments)(job->values + row * channels, rows, channels, &job->totals[index],
                          job->scratch + 2 * channels * index);
    }
}

/* One pair of image rows a turn: its moments, and of each 2x2 window what batch norm will make the largest. */
static void NAME(pool_part)(void *context, int index, long first, long last) {
    NAME(job) *job = context;
    long channels = job->channels, width = job->width;
    for (long pair = first; pair < last; pair++) {
        const T *top = job->values + pair * 2 * width * channels;
        if (job->totals)
            NAME(add_moments)(top, 2 * width, channels, &job->totals[index], job->scratch + 2 * channels * index);
        for (long x = 0; x < width / 2; x++) {
            const T *restrict a = top + 2 * x * channels, *restrict b = a + channels;
            const T *restrict d = a + width * channels, *restrict e = d + channels;
            T *restrict out = job->output + (pair * (width / 2) + x) * channels;
            const int8_t *restrict sign = job->sign;
            INDEPENDENT
            for (long c = 0; c < channels; c++) {
                float s = sign[c], best = LOAD(a[c]);
                best = better(LOAD(b[c]), best, s);
                best = better(LOAD(d[c]), best, s);
                best = better(LOAD(e[c]), best, s);
                out[c] = STORE(best);
            }
        }
    }
}

/* y = max(0, x scale + shift), NaN as it is */
static void NAME(apply_part)(void *context, int index, long first, long last) {
    NAME(job) *job = context;
    long channels = job->channels;
    const float *restrict scale = job->scale, *restrict shift = job->shift;
    for (long row = first; row < last; row++) {
        const T *restrict in = job->values + row * channels;
        T *restrict out = job->output + row * channels;
        INDEPENDENT
        for (long c = 0; c < channels; c++) {
            float value = LOAD(in[c]) * scale[c] + shift[c];
            out[c] = STORE(value < 0 ? 0 : value);
        }
    }
    (void)index;
}

/* Per channel: sum of g and of g x, with g the gradient where ReLU let the value through. */
static void NAME(sum_part)(void *context, int index, long first, long last) {
    NAME(job) *job = context;
    long channels = job->channels, step = block_rows(channels);
    const float *restrict scale = job->scale, *restrict shift = job->shift, *restrict mean = job->offset;
    float *restrict g_block = job->scratch + 2 * channels * index, *restrict gx_block = g_block + channels;
    double *restrict g_sum = job->sums + 2 * channels * index, *restrict gx_sum = g_sum + channels;
    for (long block = first; block < last; block += step) {
        for (long c = 0; c < channels; c++) g_block[c] = gx_block[c] = 0;
        for (long row = block; row < last && row < block + step; row++) {
            const T *restrict in = job->values + row * channels, *restrict gradient = job->gradient + row * channels;
            INDEPENDENT
            for (long c = 0; c < channels; c++) {
                float value = LOAD(in[c]);
                float g = passed(LOAD(gradient[c]), value * scale[c] + shift[c]);
                g_block[c] += g;
                gx_block[c] += g * (value - mean[c]);
            }
        }
        INDEPENDENT
        for (long c = 0; c < channels; c++) {
            g_sum[c] += g_block[c];
            gx_sum[c] += gx_block[c];
        }
    }
}

/* dx = g scale - (x slope + offset) */
static void NAME(input_gradient_part)(void *context, int index, long first, long last) {
    NAME(job) *job = context;
    long channels = job->channels;
    const float *restrict scale = job->scale, *restrict shift = job->shift;
    const float *restrict slope = job->slope, *restrict offset = job->offset;
    for (long row = first; row < last; row++) {
        const T *restrict in = job->values + row * channels, *restrict gradient = job->gradient + row * channels;
        T *restrict out = job->output + row * channels;
        INDEPENDENT
        for (long c = 0; c < channels; c++) {
            float value = LOAD(in[c]);
            float g = passed(LOAD(gradient[c]), value * scale[c] + shift[c]);
            out[c] = STORE(g * scale[c] - (value * slope[c] + offset[c]));
        }
    }
    (void)index;
}

/* The same through pooling: of a window's four values the first that equals the pooled one gets the gradient. */
static void NAME(pooled_input_gradient_part)(void *context, int index, long first, long last) {
    NAME(job) *job = context;
    long channels = job->channels, width = job->width;
    const float *restrict scale = job->scale, *restrict shift = job->shift;
    const float *restrict slope = job->slope, *restrict offset = job->offset;
    for (long pair = first; pair < last; pair++)
        for (long x = 0; x < width / 2; x++) {
            long small = (pair * (width / 2) + x) * channels, at = (pair * 2 * width + 2 * x) * channels;
            long places[4] = {at, at + channels, at + width * channels, at + (width + 1) * channels};
            const T *restrict pooled = job->pooled + small, *restrict gradient = job->gradient + small;
            const T *restrict a = job->values + places[0], *restrict b = job->values + places[1];
            const T *restrict d = job->values + places[2], *restrict e = job->values + places[3];
            T *restrict da = job->output + places[0], *restrict db = job->output + places[1];
            T *restrict dd = job->output + places[2], *restrict de = job->output + places[3];
            INDEPENDENT
            for (long c = 0; c < channels; c++) {
                float best = LOAD(pooled[c]);
                float g = passed(LOAD(gradient[c]) * scale[c], best * scale[c] + shift[c]);
                uint32_t left = ~0u; /* all ones until a value has taken the gradient */
                float value = LOAD(a[c]);
                da[c] = STORE(take(g, value, best, &left) - (value * slope[c] + offset[c]));
                value = LOAD(b[c]);
                db[c] = STORE(take(g, value, best, &left) - (value * slope[c] + offset[c]));
                value = LOAD(d[c]);
                dd[c] = STORE(take(g, value, best, &left) - (value * slope[c] + offset[c]));
                value = LOAD(e[c]);
                de[c] = STORE(take(g, value, best, &left) - (value * slope[c] + offset[c]));
            }
        }
    (void)index;
}

/* Mean and biased variance of each channel over all rows. Returns 0, or 1 where memory ran out; so do all below. */
int NAME(norm_measure)(const T *values, long rows, long channels, float *mean, float *variance, int threads) {
    workspace space;
    if (!open_workspace(&space, channels, threads)) return 1;
    NAME(job) job = {.values = values, .channels = channels, .totals = space.totals, .scratch = space.scratch};
    in_parallel(NAME(measure_part), &job, rows, threads);
    finish_moments(&space, channels, threads, mean, variance);
    return 0;
}

/* [pairs, 2, width, channels] to [pairs, width / 2, channels]; mean and variance may be NULL. */
int NAME(norm_pool)(const T *values, long pairs, long width, long channels, const int8_t *sign, T *pooled, float *mean,
                    float *variance, int threads) {
    workspace space = {0};
    if (mean && !open_workspace(&space, channels, threads)) return 1;
    NAME(job) job = {.values = values, .output = pooled, .width = width, .channels = channels, .sign = sign,
                     .totals = mean ? space.totals : NULL, .scratch = space.scratch};
    in_parallel(NAME(pool_part), &job, pairs, threads);
    if (mean) finish_moments(&space, channels, threads, mean, variance);
    return 0;
}

int NAME(norm_apply)(const T *values, long rows, long channels, const float *scale, const float *shift, T *output,
                     int threads) {
    NAME(job) job = {.values = values, .output = output, .channels = channels, .scale = scale, .shift = shift};
    in_parallel(NAME(apply_part), &job, rows, threads);
    return 0;
}

/* Per channel the sum of g and of g (x - mean). */
int NAME(norm_sums)(const T *values, const T *gradient, long rows, long channels, const float *scale,
                    const float *shift, const float *mean, float *g, float *gx, int threads) {
    workspace space;
    if (!open_workspace(&space, channels, threads)) return 1;
    NAME(job) job = {.values = values, .gradient = gradient, .channels = channels, .scale = scale, .shift = shift,
                     .offset = mean, .sums = space.doubles, .scratch = space.scratch};
    in_parallel(NAME(sum_part), &job, rows, threads);
    for (int index = 1; index < threads; index++)
        for (long c = 0; c < 2 * channels; c++) space.doubles[c] += space.doubles[2 * channels * index + c];
    INDEPENDENT
    for (long c = 0; c < channels; c++) {
        g[c] = (float)space.doubles[c];
        gx[c] = (float)space.doubles[channels + c];
    }
    close_workspace(&space);
    return 0;
}

int NAME(norm_input_gradient)(const T *values, const T *gradient, long rows, long channels, const float *scale,
                              const float *shift, const float *slope, const float *offset, T *output, int threads) {
    NAME(job) job = {.values = values, .gradient = gradient, .output = output, .channels = channels, .scale = scale,
                     .shift = shift, .slope = slope, .offset = offset};
    in_parallel(NAME(input_gradient_part), &job, rows, threads);
    return 0;
}

int NAME(norm_pooled_input_gradient)(const T *values, const T *pooled, const T *gradient, long pairs, long width,
                                     long channels, const float *scale, const float *shift, const float *slope,
                                     const float *offset, T *output, int threads) {
    NAME(job) job = {.values = values, .pooled = pooled, .gradient = gradient, .output = output, .width = width,
                     .channels = channels, .scale = scale, .shift = shift, .slope = slope, .offset = offset};
    in_parallel(NAME(pooled_input_gradient_part), &job, pairs, threads);
    return 0;
}
