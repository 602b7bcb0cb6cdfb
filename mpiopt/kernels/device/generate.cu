// The synthetic sets of mpiopt.io.dataset.synthetic made on the card, row by row from hashes of (seed, row): the same random
// numbers as on the CPU, and up to the last digit of exp and log the same rows.

__device__ inline double unit(u64 bits) { return ((double)(bits >> 11) + 0.5) * (1.0 / 9007199254740992.0); }
__device__ inline u64 stream(u64 key, u64 purpose, i64 row) { return mix(mix(key ^ (purpose << 56)) + (u64)row); }

enum { LENGTH = 1, COLUMN, ENTRY, LABEL, WEIGHT };

// length : (rows,), log-normal, between 1 and cols. grid: a thread a row.
KERNEL row_lengths(i64 rows, u64 key, double mean, double spread, i64 cols, i64* length) {
    const i64 i = thread_number();
    if (i >= rows) return;
    const u64 key_of_row = stream(key, LENGTH, i);
    const double radius = unit(draw(key_of_row, 0)), angle = unit(draw(key_of_row, 1));
    const double normal = sqrt(-2.0 * log(radius)) * cos(6.283185307179586 * angle);
    const i64 found = (i64)(mean * exp(spread * normal - 0.5 * spread * spread) + 0.5);
    length[i] = found < 1 ? 1 : found > cols ? cols : found;
}

// The planted weight of a column, 0 for most.
__device__ inline double planted_weight(u64 weights, int column, double planted) {
    const u64 bits = draw(weights, (u64)column);
    if (!((double)(bits >> 42) < planted * 4194304.0)) return 0.0;
    return ((double)(bits & 0x1FFFFF) - (double)((bits >> 21) & 0x1FFFFF)) / 2097152.0;
}

// Columns, values and labels of rows whose entries are all equal (binary sets). Column c has a frequency proportional to
// (c + 10)^-exponent; y : (rows,) -1 or +1, with offset NaN the log-odds. grid: a thread a row.
KERNEL fill_binary_rows(i64 rows, u64 key, i64 cols, double exponent, double planted, double scale, double offset,
                        const i64* start, int* index, VALUE* data, VECTOR* y) {
    const i64 i = thread_number();
    if (i >= rows) return;
    const i64 lo = start[i], n = start[i + 1] - lo;
    const u64 columns = stream(key, COLUMN, i), weights = stream(key, WEIGHT, 0);
    const bool straight = fabs(exponent - 1.0) < 1e-9;
    const double span = log1p(cols / 10.0), power = 1.0 - exponent, gain = expm1(power * span);
    double total = 0.0, sofar = 0.0, odds = 0.0;
    for (i64 j = 0; j <= n; ++j) total -= log(unit(draw(columns, (u64)j)));
    i64 last = -1;
    const VALUE value = (VALUE)(1.0 / sqrt((double)n));
    for (i64 j = 0; j < n; ++j) {
        sofar -= log(unit(draw(columns, (u64)j)));
        const double u = sofar / total, z = straight ? u * span : log1p(u * gain) / power;
        const i64 wanted = (i64)(10.0 * expm1(z)), ceiling = cols - n + j;
        const i64 column = wanted < ceiling ? wanted : ceiling;
        last = last + 1 > column ? last + 1 : column;
        index[lo + j] = (int)last;
        data[lo + j] = value;
        odds += (double)value * planted_weight(weights, (int)last, planted);
    }
    if (isnan(offset)) {
        y[i] = (VECTOR)(scale * odds);
        return;
    }
    const double chance = 1.0 / (1.0 + exp(offset - scale * odds));
    y[i] = (VECTOR)(unit(draw(stream(key, LABEL, i), 0)) < chance ? 1.0 : -1.0);
}
