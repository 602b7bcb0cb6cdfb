// Row-wise sums of a linear model's loss on margins m : (n,), labels y : (n,), sample weights w : (n,) where `weighted`.
// `Row`, with the loss of one row, its derivatives and its conjugate, is written before this by `device.margins`.
// grid: any number of blocks; each writes its sums to partial[block * width + j], and `finish` adds them.

struct Loss {
    double value, slope, bend;  // of one row, and the first and second derivative in its margin
};
__device__ inline Loss at(double m, double y) { return {Row::value(m, y), Row::slope(m, y), Row::bend(m, y)}; }

// The sum of losses; residual : (n,) their derivatives in the margins, overwritten.
KERNEL value_residual(i64 n, const VECTOR* m, const VECTOR* y, const VECTOR* w, int weighted, VECTOR* residual,
                      double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        const double weight = weighted ? (double)w[i] : 1.0;
        residual[i] = (VECTOR)(weight * Row::slope(m[i], y[i]));
        sum.add(weight * Row::value(m[i], y[i]));
    }
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// h : (n,) the second derivatives, overwritten.
KERNEL curvature(i64 n, const VECTOR* m, const VECTOR* y, const VECTOR* w, int weighted, VECTOR* h) {
    for (i64 i = thread_number(); i < n; i += thread_count())
        h[i] = (VECTOR)((weighted ? (double)w[i] : 1.0) * Row::bend(m[i], y[i]));
}

// Value, gradient and upper Hessian triangle, row by row, of c -> sum of losses at m + sum_j c_j p_j; p : (K, n), c : (K,).
template <int K>
__device__ inline void plane_sums(i64 n, const VECTOR* m, const VECTOR* p, const double* c, const VECTOR* y, const VECTOR* w,
                                  int weighted, double* partial) {
    constexpr int WIDTH = 1 + K + K * (K + 1) / 2;
    Sum sums[WIDTH];
    double factor[K];
#pragma unroll
    for (int j = 0; j < K; ++j) factor[j] = c[j];
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        double margin = m[i], along[K];
#pragma unroll
        for (int j = 0; j < K; ++j) {
            along[j] = p[j * n + i];
            margin += factor[j] * along[j];
        }
        const double weight = weighted ? (double)w[i] : 1.0;
        const Loss loss = at(margin, y[i]);
        sums[0].add(weight * loss.value);
        int at = 1 + K;
#pragma unroll
        for (int j = 0; j < K; ++j) {
            sums[1 + j].add(weight * loss.slope * along[j]);
#pragma unroll
            for (int k = j; k < K; ++k) sums[at++].add(weight * loss.bend * along[j] * along[k]);
        }
    }
#pragma unroll
    for (int s = 0; s < WIDTH; ++s) {
        const double total = block_sum(sums[s].value());
        if (threadIdx.x == 0) partial[(i64)blockIdx.x * WIDTH + s] = total;
    }
}

#define PLANE(NAME, K)                                                                                                 \
    KERNEL NAME(i64 n, const VECTOR* m, const VECTOR* p, const double* c, const VECTOR* y, const VECTOR* w,            \
                int weighted, double* partial) {                                                                       \
        plane_sums<K>(n, m, p, c, y, w, weighted, partial);                                                      \
    }
PLANE(plane_1, 1)
PLANE(plane_2, 2)
PLANE(plane_3, 3)
PLANE(plane_4, 4)

// value(m + d) - value(m) - slope(m) d: the loss's own, or the difference where it is plain, and elsewhere d^2 times the
// integral of (1 - t) bend(m + t d) by Gauss's rule of four points, as in kernels/rowwise.py.
__device__ inline double rise(double m, double d, double y) {
#ifdef HAS_RISE
    return Row::rise(m, d, y);
#else
    const double low = Row::value(m, y), high = Row::value(m + d, y), line = Row::slope(m, y) * d, plain = high - low - line;
    if (!(fabs(plain) <= 1e-3 * (fabs(low) + fabs(high) + fabs(line)) && isfinite(plain))) return plain;
    return d * d * (0.13550691343148852 * Row::bend(m + 0.057104196114517725 * d, y) +
                    0.2034645680102711 * Row::bend(m + 0.2768430136381238 * d, y) +
                    0.12984754760823233 * Row::bend(m + 0.5835904323689168 * d, y) +
                    0.031180970950008085 * Row::bend(m + 0.8602401356562195 * d, y));
#endif
}

// Sum of w_i rise(m_i, delta_i, y_i).
KERNEL bregman(i64 n, const VECTOR* m, const VECTOR* delta, const VECTOR* y, const VECTOR* w, int weighted,
               double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count())
        sum.add((weighted ? (double)w[i] : 1.0) * rise(m[i], delta[i], y[i]));
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// Sum of w_i conjugate(scale_i slope(m_i, y_i)) over the rows that have a weight.
KERNEL conjugates(i64 n, const VECTOR* m, const VECTOR* scale, const VECTOR* y, const VECTOR* w, int weighted,
                  double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        const double weight = weighted ? (double)w[i] : 1.0;
        if (weight > 0.0) sum.add(weight * Row::conjugate((double)scale[i] * Row::slope(m[i], y[i]), y[i]));
    }
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}
