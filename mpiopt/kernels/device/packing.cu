// What compressors need: the largest coordinates by magnitude, and numbers of a few bits packed side by side.

#define BINS 2048

// counts[b] += coordinates whose magnitude has the leading bits `prefix` and the next 11 bits b: those above and from
// `shift` on. The step of a radix selection; whole numbers, so that the order of the additions does not matter.
KERNEL magnitude_counts(i64 n, const VECTOR* x, u64 prefix, int shift, u64* counts) {
    __shared__ unsigned bins[BINS];
    for (int b = threadIdx.x; b < BINS; b += THREADS) bins[b] = 0;
    __syncthreads();
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        const u64 bits = magnitude(x[i]) >> shift;
        if (bits / BINS == prefix) atomicAdd(&bins[bits % BINS], 1u);
    }
    __syncthreads();
    for (int b = threadIdx.x; b < BINS; b += THREADS)
        if (bins[b]) atomicAdd(&counts[b], (u64)bins[b]);
}

// counts[block] = coordinates above the threshold in the block's stretch of `span` coordinates, counts[blocks + block] =
// coordinates equal to it. grid: one block a stretch.
KERNEL count_large(i64 n, i64 span, const VECTOR* x, u64 threshold, i64* counts) {
    const i64 lo = blockIdx.x * span, hi = lo + span < n ? lo + span : n;
    double above = 0.0, equal = 0.0;  // exact: a stretch has far fewer than 2^53 coordinates
    for (i64 i = lo + threadIdx.x; i < hi; i += THREADS) {
        const u64 bits = magnitude(x[i]);
        above += bits > threshold;
        equal += bits == threshold;
    }
    above = block_sum(above);
    equal = block_sum(equal);
    if (threadIdx.x == 0) {
        counts[blockIdx.x] = (i64)above;
        counts[gridDim.x + blockIdx.x] = (i64)equal;
    }
}

// The block's exclusive count of threads before this one for which `yes`, and the count over the block in *all.
__device__ inline int count_before(bool yes, int* all) {
    __shared__ int parts[WARPS];
    const unsigned votes = __ballot_sync(ALL, yes);
    if (lane_number() == 0) parts[threadIdx.x / 32] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1u << lane_number()) - 1u)), total = 0;
    for (int k = 0; k < WARPS; ++k) {
        if (k < (int)threadIdx.x / 32) before += parts[k];
        total += parts[k];
    }
    *all = total;
    __syncthreads();
    return before;
}

// Write the indices, ascending, and values of all coordinates above the threshold and of the first `ties` equal to it.
// above, equal : (blocks,) how many of each lie in the stretches before this one; as many blocks and the same span as in
// count_large.
KERNEL take_large(i64 n, i64 span, const VECTOR* x, u64 threshold, i64 ties, const i64* above, const i64* equal,
                  i64* index, VECTOR* value) {
    const i64 lo = blockIdx.x * span, hi = lo + span < n ? lo + span : n;
    i64 seen_above = above[blockIdx.x], seen_equal = equal[blockIdx.x];
    for (i64 tile = lo; tile < hi; tile += THREADS) {
        const i64 i = tile + threadIdx.x;
        const u64 bits = i < hi ? magnitude(x[i]) : 0;
        int all_above, all_equal;
        const bool large = i < hi && bits > threshold, level = i < hi && bits == threshold;
        const i64 rank_above = seen_above + count_before(large, &all_above);
        const i64 rank_equal = seen_equal + count_before(level, &all_equal);
        if (large || (level && rank_equal < ties)) {
            const i64 at = rank_above + (rank_equal < ties ? rank_equal : ties);
            index[at] = i;
            value[at] = x[i];
        }
        seen_above += all_above;
        seen_equal += all_equal;
    }
}

// Bit i of words = whether x_i < 0. words : (ceil(n / 32),). grid: a thread a coordinate, whole warps.
KERNEL pack_signs(i64 n, const VECTOR* x, unsigned* words) {
    const i64 i = thread_number();
    const unsigned votes = __ballot_sync(ALL, i < n && x[i] < (VECTOR)0);
    if (i < n && lane_number() == 0) words[i / 32] = votes;
}

// x_i = -scale where bit i is set, scale elsewhere. grid: a thread a coordinate.
KERNEL unpack_signs(i64 n, const unsigned* words, double scale, VECTOR* x) {
    const i64 i = thread_number();
    if (i < n) x[i] = (VECTOR)(words[i / 32] >> (i % 32) & 1u ? -scale : scale);
}

// codes : (n,) of which the low `bits` (1 to 32) count, side by side: code i fills the bits from bits * i on, the lowest
// first. grid: a thread a word of words : (ceil(n bits / 32),).
KERNEL pack_bits(i64 n, i64 bits, const unsigned* codes, unsigned* words) {
    const i64 word = thread_number(), count = (n * bits + 31) / 32;
    if (word >= count) return;
    const u64 mask = (1ull << bits) - 1;
    const i64 begin = word * 32;
    unsigned out = 0;
    for (i64 i = begin / bits; i < n && i * bits < begin + 32; ++i) {
        const i64 shift = i * bits - begin;
        const u64 code = codes[i] & mask;
        out |= (unsigned)(shift < 0 ? code >> -shift : code << shift);
    }
    words[word] = out;
}

// The codes back. grid: a thread a code.
KERNEL unpack_bits(i64 n, i64 bits, const unsigned* words, unsigned* codes) {
    const i64 i = thread_number();
    if (i >= n) return;
    const i64 at = i * bits / 32, shift = i * bits % 32;
    u64 window = words[at];
    if (shift + bits > 32) window |= (u64)words[at + 1] << 32;
    codes[i] = (unsigned)(window >> shift & ((1ull << bits) - 1));
}
