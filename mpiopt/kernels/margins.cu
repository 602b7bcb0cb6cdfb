// Row-wise sums of linear models on margins m : (n,), labels y : (n,) (-1/+1 for the logistic loss), sample weights w : (n,)
// where `weighted`. grid: any number of blocks; each writes its sums to partial[block * width + j], and `finish` adds them.

struct Loss {
    double value, slope, bend;  // of one row, and the first and second derivative in its margin
};

struct Logistic {  // log(1 + e^(-y m))
    static __device__ inline Loss at(double m, double y) {
        const double t = y * m, e = exp(-fabs(t)), inverse = 1.0 / (1.0 + e);
        return {(t < 0.0 ? -t : 0.0) + log1p(e), -y * (t > 0.0 ? e : 1.0) * inverse, y * y * e * inverse * inverse};
    }
};
struct Squares {  // (m - y)^2 / 2
    static __device__ inline Loss at(double m, double y) { return {0.5 * (m - y) * (m - y), m - y, 1.0}; }
};

// The sum of losses; residual : (n,) their derivatives in the margins, overwritten.
template <class Kind>
__device__ inline void value_residual(i64 n, const VECTOR* m, const VECTOR* y, const VECTOR* w, int weighted,
                                      VECTOR* residual, double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        const double weight = weighted ? (double)w[i] : 1.0;
        const Loss loss = Kind::at(m[i], y[i]);
        residual[i] = (VECTOR)(weight * loss.slope);
        sum.add(weight * loss.value);
    }
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

KERNEL logistic_residual(i64 n, const VECTOR* m, const VECTOR* y, const VECTOR* w, int weighted, VECTOR* residual,
                         double* partial) {
    value_residual<Logistic>(n, m, y, w, weighted, residual, partial);
}
KERNEL squares_residual(i64 n, const VECTOR* m, const VECTOR* y, const VECTOR* w, int weighted, VECTOR* residual,
                        double* partial) {
    value_residual<Squares>(n, m, y, w, weighted, residual, partial);
}

// h : (n,) the logistic loss's second derivatives, for either label, overwritten.
KERNEL logistic_curvature(i64 n, const VECTOR* m, const VECTOR* w, int weighted, VECTOR* h) {
    for (i64 i = thread_number(); i < n; i += thread_count())
        h[i] = (VECTOR)((weighted ? (double)w[i] : 1.0) * Logistic::at(m[i], 1.0).bend);
}

// Value, gradient and upper Hessian triangle, row by row, of c -> sum of losses at m + sum_j c_j p_j; p : (K, n), c : (K,).
template <class Kind, int K>
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
        const Loss loss = Kind::at(margin, y[i]);
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

#define PLANE(NAME, KIND, K)                                                                                           \
    KERNEL NAME(i64 n, const VECTOR* m, const VECTOR* p, const double* c, const VECTOR* y, const VECTOR* w,            \
                int weighted, double* partial) {                                                                       \
        plane_sums<KIND, K>(n, m, p, c, y, w, weighted, partial);                                                      \
    }
PLANE(logistic_plane_1, Logistic, 1)
PLANE(logistic_plane_2, Logistic, 2)
PLANE(logistic_plane_3, Logistic, 3)
PLANE(logistic_plane_4, Logistic, 4)
PLANE(squares_plane_1, Squares, 1)
PLANE(squares_plane_2, Squares, 2)
PLANE(squares_plane_3, Squares, 3)
PLANE(squares_plane_4, Squares, 4)

// l(t + d) - l(t) - l'(t) d for l(t) = log(1 + e^-t) without cancellation. With p = 1 / (1 + e^t): log1p(p expm1(-d)) + p d,
// written in 1 - p where p is near 1, in logarithms
// where powers would overflow, and below |d| = 1e-3 the series p (1 - p) d^2 [1/2 - (1 - 2p) d/6 + ...].
__device__ inline double bregman_term(double t, double d) {
    const double e = exp(-fabs(t)), inverse = 1.0 / (1.0 + e);
    const double p = (t > 0.0 ? e : 1.0) * inverse, q = (t > 0.0 ? 1.0 : e) * inverse;
    if (fabs(d) < 1e-3) {
        const double bend = e * inverse * inverse;
        return bend * d * d * (0.5 - (1.0 - 2.0 * p) * d / 6.0 + (1.0 - 6.0 * bend) * d * d / 24.0);
    }
    if (t > 0.0) {
        if (d > -500.0) return log1p(p * expm1(-d)) + p * d;
        const double power = -d - t - log1p(e);  // log(p e^-d), where e^-d may overflow
        return (power > 40.0 ? power : log1p(exp(power) - p)) + p * d;
    }
    if (d < 500.0) return log1p(q * expm1(d)) - q * d;
    // log(q + p e^-d), where both may underflow
    return (t > -d ? t : -d) + log1p(exp(-fabs(t + d))) - log1p(e) + p * d;
}

// Sum of w_i [l(t_i + d_i) - l(t_i) - l'(t_i) d_i], t = y m, d = y delta.
KERNEL logistic_bregman(i64 n, const VECTOR* m, const VECTOR* delta, const VECTOR* y, const VECTOR* w, int weighted,
                        double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count())
        sum.add((weighted ? (double)w[i] : 1.0) * bregman_term((double)y[i] * m[i], (double)y[i] * delta[i]));
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// Sum of a_i b_i, in an order that depends on n alone.
KERNEL inner_product(i64 n, const VECTOR* a, const VECTOR* b, double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count()) sum.add((double)a[i] * b[i]);
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}
