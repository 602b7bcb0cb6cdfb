// Sparse matrix products on compressed rows, or on compressed columns, which are the rows of the transpose.
//
// start : (rows + 1,) offsets into index and data. Rows of at most `limit` entries are summed by a group of L lanes each
// (32 / L rows a warp); longer ones are cut into pieces of `piece` entries, a warp a piece, whose sums are then added in
// order: without that, the few columns that nearly every row of a text or click log has would each keep one warp busy
// while the card waits.

// What an entry (value, column j) adds to the sum of its row.
struct Plain {  // a_ij x_j
    static __device__ inline double term(double value, int j, const VECTOR* x) { return value * (double)x[j]; }
};
struct Square {  // a_ij^2 x_j
    static __device__ inline double term(double value, int j, const VECTOR* x) { return value * value * (double)x[j]; }
};
struct Norm {  // a_ij^2
    static __device__ inline double term(double value, int, const VECTOR*) { return value * value; }
};

// One lane's part of the sum over entries lo <= k < hi, L lanes apart; four accumulators, so that four gathers are in flight.
template <int L, class Term>
__device__ inline double lane_part(i64 lo, i64 hi, const int* __restrict__ index, const VALUE* __restrict__ data,
                                   const VECTOR* __restrict__ x) {
    double a = 0.0, b = 0.0, c = 0.0, d = 0.0;
    i64 k = lo + lane_number() % L;
    for (; k + 3 * L < hi; k += 4 * L) {
        a += Term::term(data[k], index[k], x);
        b += Term::term(data[k + L], index[k + L], x);
        c += Term::term(data[k + 2 * L], index[k + 2 * L], x);
        d += Term::term(data[k + 3 * L], index[k + 3 * L], x);
    }
    for (; k < hi; k += L) a += Term::term(data[k], index[k], x);
    return (a + b) + (c + d);
}

// What becomes of a row's sum: times scale[row] where `scaled`, added to out where `more`.
template <class T>
__device__ inline void store(T* out, i64 row, double sum, const VECTOR* scale, int scaled, int more) {
    if (scaled) sum *= (double)scale[row];
    out[row] = (T)(more ? sum + (double)out[row] : sum);
}

template <int L, class Term>
__device__ inline void rows_by_groups(i64 rows, i64 limit, const i64* start, const int* index, const VALUE* data,
                                      const VECTOR* x, const VECTOR* scale, int scaled, int more, VECTOR* out) {
    const i64 row = thread_number() / L;
    const bool mine = row < rows;
    const i64 lo = mine ? start[row] : 0, hi = mine ? start[row + 1] : 0;
    const bool brief = hi - lo <= limit;
    const double sum = group_sum<L>(lane_part<L, Term>(lo, brief ? hi : lo, index, data, x));
    if (mine && brief && lane_number() % L == 0) store(out, row, sum, scale, scaled, more);
}

// Rows of at most `limit` entries. grid: one group of L threads a row.
#define ROWS(NAME, L, TERM)                                                                                            \
    KERNEL NAME(i64 rows, i64 limit, const i64* start, const int* index, const VALUE* data, const VECTOR* x,           \
                const VECTOR* scale, int scaled, int more, VECTOR* out) {                                              \
        rows_by_groups<L, TERM>(rows, limit, start, index, data, x, scale, scaled, more, out);                         \
    }
ROWS(plain_2, 2, Plain)
ROWS(plain_4, 4, Plain)
ROWS(plain_8, 8, Plain)
ROWS(plain_16, 16, Plain)
ROWS(plain_32, 32, Plain)
ROWS(square_2, 2, Square)
ROWS(square_4, 4, Square)
ROWS(square_8, 8, Square)
ROWS(square_16, 16, Square)
ROWS(square_32, 32, Square)
ROWS(norm_2, 2, Norm)
ROWS(norm_4, 4, Norm)
ROWS(norm_8, 8, Norm)
ROWS(norm_16, 16, Norm)
ROWS(norm_32, 32, Norm)

// partial[p] = the sum of piece p. Long row j is row long_row[j] and has the pieces first[j] <= p < first[j + 1];
// owner[p] is the j of piece p. grid: a warp a piece.
template <class Term>
__device__ inline void sum_pieces(i64 count, i64 piece, const int* owner, const i64* first, const i64* long_row,
                                  const i64* start, const int* index, const VALUE* data, const VECTOR* x, double* partial) {
    const i64 p = thread_number() / 32;
    i64 lo = 0, hi = 0;
    if (p < count) {
        const i64 j = owner[p], row = long_row[j], end = start[row + 1];
        lo = start[row] + (p - first[j]) * piece;
        hi = lo + piece < end ? lo + piece : end;
    }
    const double sum = group_sum<32>(lane_part<32, Term>(lo, hi, index, data, x));
    if (p < count && lane_number() == 0) partial[p] = sum;
}

#define PIECES(NAME, TERM)                                                                                             \
    KERNEL NAME(i64 count, i64 piece, const int* owner, const i64* first, const i64* long_row, const i64* start,       \
                const int* index, const VALUE* data, const VECTOR* x, double* partial) {                               \
        sum_pieces<TERM>(count, piece, owner, first, long_row, start, index, data, x, partial);                        \
    }
PIECES(plain_pieces, Plain)
PIECES(square_pieces, Square)
PIECES(norm_pieces, Norm)

// The long rows' sums from those of their pieces. grid: a warp a long row.
KERNEL join_pieces(i64 count, const i64* first, const i64* long_row, const double* partial, const VECTOR* scale, int scaled,
                   int more, VECTOR* out) {
    const i64 j = thread_number() / 32;
    const bool mine = j < count;
    const i64 lo = mine ? first[j] : 0, hi = mine ? first[j + 1] : 0;
    double sum = 0.0;
    for (i64 p = lo + lane_number(); p < hi; p += 32) sum += partial[p];
    sum = group_sum<32>(sum);
    if (mine && lane_number() == 0) store(out, long_row[j], sum, scale, scaled, more);
}

// out += A^T r without a copy of A by columns: sums in whatever order the card comes to them. out begins at 0.
// `way` 0: r as it is; 1: of the squares of A; 2: r_i (A v)_i in place of r_i, one pass over A. Where not `scaled`, r is
// all ones. grid: a group of 8 threads a row; a long row is walked by its group alone.
KERNEL scatter_atomic(i64 rows, const i64* start, const int* index, const VALUE* data, const VECTOR* r, int scaled,
                      const VECTOR* v, int way, VECTOR* out) {
    const i64 row = thread_number() / 8;
    const bool mine = row < rows;
    const i64 lo = mine ? start[row] : 0, hi = mine ? start[row + 1] : 0;
    double factor = mine && scaled ? (double)r[row] : 1.0;
    if (way == 2) factor *= group_sum<8>(lane_part<8, Plain>(lo, hi, index, data, v));
    for (i64 k = lo + lane_number() % 8; k < hi; k += 8) {
        const double value = data[k];
        atomicAdd(&out[index[k]], (VECTOR)(way == 1 ? factor * value * value : factor * value));
    }
}

// Row and value of every entry in the order of `order`, which sorts the entries by column and keeps rows ascending; `base`
// is where the block's entries begin. row_of(entry) by bisection of start. grid: a thread an entry.
KERNEL turn(i64 count, i64 rows, i64 base, const i64* start, const i64* order, const VALUE* data, int* row, VALUE* value) {
    const i64 k = thread_number();
    if (k >= count) return;
    const i64 from = base + order[k];
    i64 low = 0, high = rows;
    while (high - low > 1) {
        const i64 middle = (low + high) / 2;
        if (start[middle] <= from) low = middle;
        else high = middle;
    }
    row[k] = (int)low;
    value[k] = data[from];
}
