// Quantisers: a small integer for every coordinate, and the numbers back, as kernels.quantise has them on the CPU.
//
// Codes and random numbers are those of the CPU bit for bit. Products and sums that decide on them are therefore written
// as __dmul_rn and __dadd_rn, which the compiler never joins into one rounding. Coordinate j lies in bucket j / bucket.

#define CHUNK 640  // coordinates of which two share a hash: j and j + CHUNK / 2 of each chunk

// The random number of coordinate j, uniform over the 32-bit integers.
__device__ inline unsigned noise(u64 key, i64 j) {
    const i64 half = CHUNK / 2, place = j % CHUNK;
    const u64 hash = draw(key, (u64)(j / CHUNK * half + place % half));
    return (unsigned)(place < half ? hash : hash >> 32);
}
// The same between 0 and 1.
__device__ inline double chance(unsigned random) { return __dmul_rn((double)random, 1.0 / 4294967296.0); }

// levels |x| / scale without overflow on the way, 0 for a scale of 0.
__device__ inline double part_of(double x, double scale, double levels) {
    if (scale == 0.0) return 0.0;
    const double before = scale > 1e-280 ? 1.0 : 2.037035976334486e90;  // 2^300
    return __dmul_rn(__dmul_rn(fabs(x), before), levels / __dmul_rn(scale, before));
}

// |x_j| rounded to a multiple of scale / top at random, with the bit `sign` where x_j < 0; as trits 0, 1 and, for minus
// one, 2. grid: a thread a coordinate.
KERNEL dither(i64 n, i64 bucket, const VECTOR* x, const VECTOR* scales, u64 key, double top, unsigned sign, int trits,
              unsigned* codes) {
    const i64 j = thread_number();
    if (j >= n) return;
    const double v = x[j], level = __dadd_rn(part_of(v, scales[j / bucket], top), chance(noise(key, j)));
    const unsigned code = (unsigned)(level < top ? level : top) | (v < 0.0 ? sign : 0u);
    codes[j] = trits ? (code & 1u) * (1u + (code >> 1)) : code;
}

// |x_j| / scale rounded at random to 0, code 0, or to 2^(low + c - 1), code c up to `top`. least = 2^low, inverse = 2^-low.
// A random number added to the mantissa carries into the exponent with the right probability. grid: a thread a coordinate.
KERNEL powers(i64 n, i64 bucket, const VECTOR* x, const VECTOR* scales, u64 key, int low, double least, double inverse,
              i64 top, unsigned sign, unsigned* codes) {
    const i64 j = thread_number();
    if (j >= n) return;
    const double v = x[j], part = part_of(v, scales[j / bucket], 1.0);
    const unsigned random = noise(key, j);
    const i64 tiny = __dadd_rn(__dmul_rn(part, inverse), chance(random)) >= 1.0;
    const i64 power = ((__double_as_longlong(part) + ((i64)random << 20)) >> 52) - (1023 + low - 1);
    const i64 code = part >= least ? (power < top ? power : top) : tiny;
    codes[j] = (unsigned)code | (v < 0.0 ? sign : 0u);
}

__device__ inline void put(VECTOR* out, i64 j, double value, int fresh) {
    out[j] = (VECTOR)(fresh ? value : __dadd_rn((double)out[j], value));
}

// out_j = scale scales[bucket] table[code], or out_j += that. grid: a thread a coordinate.
KERNEL look_up(i64 n, i64 bucket, const unsigned* codes, const double* table, const VECTOR* scales, double scale, int fresh,
               VECTOR* out) {
    const i64 j = thread_number();
    if (j < n) put(out, j, __dmul_rn(table[codes[j]], __dmul_rn((double)scales[j / bucket], scale)), fresh);
}

// out_j = scale pairs[2 bucket + bit j of words], or out_j += that. grid: a thread a coordinate.
KERNEL choose(i64 n, i64 bucket, const unsigned* words, const double* pairs, double scale, int fresh, VECTOR* out) {
    const i64 j = thread_number();
    if (j < n) put(out, j, __dmul_rn(pairs[2 * (j / bucket) + (words[j / 32] >> (j % 32) & 1u)], scale), fresh);
}

// out[index[i]] += scale value[i] where that is below `size`; no index occurs twice. grid: a thread a value.
KERNEL scatter(i64 count, i64 size, const VECTOR* value, const i64* index, double scale, VECTOR* out) {
    const i64 i = thread_number();
    if (i < count && index[i] < size) put(out, index[i], __dmul_rn((double)value[i], scale), 0);
}

// The places first, first + 1, ... of a random permutation of 0 .. n - 1, as kernels.shuffle finds them: a Feistel network
// on `wide` bits, walked until the number is below n, then a rotation. grid: a thread a place.
KERNEL subset(i64 count, u64 key, i64 first, i64 n, int wide, i64* out) {
    const i64 i = thread_number();
    if (i >= count) return;
    const int low = wide / 2;
    const u64 low_mask = (1ull << low) - 1, high_mask = (1ull << (wide - low)) - 1, all = (u64)n;
    u64 value = (u64)(first + i);
    do {
        u64 left = value & low_mask, right = value >> low;
        for (u64 stage = 0; stage < 6; ++stage) {
            left ^= mix(key + ((4 * stage + 1) << 40) + right) & low_mask;
            right ^= mix(key + ((4 * stage + 3) << 40) + left) & high_mask;
        }
        value = left | (right << low);
    } while (value >= all);
    value += draw(key, 0) % all;
    out[i] = (i64)(value >= all ? value - all : value);
}

// Five trits a byte. grid: a thread a byte of packed : (ceil(n / 5),).
KERNEL pack_trits(i64 n, const unsigned* codes, unsigned char* packed) {
    const i64 at = thread_number(), first = 5 * at;
    if (first >= n) return;
    unsigned byte = 0, weight = 1;
    for (i64 i = first; i < n && i < first + 5; ++i, weight *= 3) byte += weight * codes[i];
    packed[at] = (unsigned char)byte;
}

// The trits back. grid: a thread a trit.
KERNEL unpack_trits(i64 n, const unsigned char* packed, unsigned* codes) {
    const i64 i = thread_number();
    if (i >= n) return;
    unsigned byte = packed[i / 5];
    for (i64 k = i % 5; k > 0; --k) byte /= 3;
    codes[i] = byte % 3;
}

// ------------------------------------------------------------------------------------------ scales of buckets
// Each bucket is cut into `parts` stretches of `piece` coordinates, of which the last may be shorter or empty; a block
// measures one, and leaves its numbers at its own place. grid: `parts` blocks a bucket.
struct Stretch {
    i64 lo, hi;
    __device__ inline Stretch(i64 n, i64 bucket, i64 piece, i64 parts) {
        const i64 first = blockIdx.x / parts * bucket, last = first + bucket < n ? first + bucket : n;
        lo = first + blockIdx.x % parts * piece;
        hi = lo + piece < last ? lo + piece : last;
    }
};

// The largest magnitude, as its bits.
KERNEL bucket_peaks(i64 n, i64 bucket, i64 piece, i64 parts, const VECTOR* x, u64* out) {
    __shared__ u64 tops[WARPS];
    const Stretch here(n, bucket, piece, parts);
    u64 top = 0;
    for (i64 i = here.lo + threadIdx.x; i < here.hi; i += THREADS) top = magnitude(x[i]) > top ? magnitude(x[i]) : top;
    for (int half = 16; half > 0; half /= 2) {
        const u64 other = __shfl_xor_sync(ALL, top, half);
        top = other > top ? other : top;
    }
    if (lane_number() == 0) tops[threadIdx.x / 32] = top;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int k = 0; k < WARPS; ++k) top = tops[k] > top ? tops[k] : top;
    out[blockIdx.x] = top;
}

// The sum of magnitudes.
KERNEL bucket_sums(i64 n, i64 bucket, i64 piece, i64 parts, const VECTOR* x, double* out) {
    const Stretch here(n, bucket, piece, parts);
    double sum = 0.0;
    for (i64 i = here.lo + threadIdx.x; i < here.hi; i += THREADS) sum += fabs((double)x[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// The sum of squares.
KERNEL bucket_squares(i64 n, i64 bucket, i64 piece, i64 parts, const VECTOR* x, double* out) {
    const Stretch here(n, bucket, piece, parts);
    double sum = 0.0;
    for (i64 i = here.lo + threadIdx.x; i < here.hi; i += THREADS) sum += (double)x[i] * (double)x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// The sum of the entries that are not negative, that of the others, and how many others there are.
KERNEL bucket_halves(i64 n, i64 bucket, i64 piece, i64 parts, const VECTOR* x, double* out) {
    const Stretch here(n, bucket, piece, parts);
    double up = 0.0, down = 0.0, low = 0.0;
    for (i64 i = here.lo + threadIdx.x; i < here.hi; i += THREADS) {
        const double v = x[i];
        if (v < 0.0) {
            down += v;
            low += 1.0;
        } else {
            up += v;
        }
    }
    up = block_sum(up);
    down = block_sum(down);
    low = block_sum(low);
    if (threadIdx.x == 0) {
        out[3 * blockIdx.x] = up;
        out[3 * blockIdx.x + 1] = down;
        out[3 * blockIdx.x + 2] = low;
    }
}
