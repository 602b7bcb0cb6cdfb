// Optimiser steps in one pass over gradient g, state and point x, all (n,). grid: a thread a coordinate, or fewer.

// v <- gamma v + a g;  x += b v + c g. Heavy ball with the step size inside v: a = -lr, b = 1, c = 0; outside: a = 1,
// b = -lr, c = 0; Nesterov's in the form that is evaluated at x: a = 1, b = -lr gamma, c = -lr.
KERNEL momentum_step(i64 n, const VECTOR* g, VECTOR* v, VECTOR* x, double gamma, double a, double b, double c) {
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        const double slope = g[i], speed = gamma * v[i] + a * slope;
        v[i] = (VECTOR)speed;
        x[i] = (VECTOR)(x[i] + (b * speed + c * slope));
    }
}

// x += a g.
KERNEL gradient_step(i64 n, const VECTOR* g, VECTOR* x, double a) {
    for (i64 i = thread_number(); i < n; i += thread_count()) x[i] = (VECTOR)(x[i] + a * g[i]);
}

// mean <- b1 mean + (1 - b1) g;  square <- b2 square + (1 - b2) g^2;  x += scale mean / (sqrt(square) + floor).
KERNEL adam_step(i64 n, const VECTOR* g, VECTOR* mean, VECTOR* square, VECTOR* x, double b1, double b2, double scale,
                 double floor) {
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        const double slope = g[i];
        const double first = b1 * mean[i] + (1.0 - b1) * slope, second = b2 * square[i] + (1.0 - b2) * slope * slope;
        mean[i] = (VECTOR)first;
        square[i] = (VECTOR)second;
        x[i] = (VECTOR)(x[i] + scale * first / (sqrt(second) + floor));
    }
}

// Sum of a_i b_i, in an order that depends on n alone.
KERNEL inner_product(i64 n, const VECTOR* a, const VECTOR* b, double* partial) {
    Sum sum;
    for (i64 i = thread_number(); i < n; i += thread_count()) sum.add((double)a[i] * b[i]);
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}
