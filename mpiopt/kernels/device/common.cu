// Types, sums and launch conventions that all kernels share. Every other source is compiled after this one, as one unit,
// by NVRTC or nvcc; VALUE is the type of stored matrix entries, VECTOR that of vectors. Sums are kept in double.
//
// Blocks have THREADS threads. Every lane of a warp takes part in its shuffles, whatever row it stands for: there is no
// early return before one. Every sum is taken in an order that depends on lengths alone, so that a result has the same
// bits in every run and on every card; kernels whose name ends in _atomic are the exception.

#ifndef VALUE
#define VALUE float
#endif
#ifndef VECTOR
#define VECTOR double
#endif

#define THREADS 256
#define WARPS (THREADS / 32)
#define ALL 0xffffffffu
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

typedef long long i64;
typedef unsigned long long u64;

// The number of this thread, of all threads, and of this thread in its warp.
__device__ inline i64 thread_number() { return (i64)blockIdx.x * THREADS + threadIdx.x; }
__device__ inline i64 thread_count() { return (i64)gridDim.x * THREADS; }
__device__ inline int lane_number() { return (int)(threadIdx.x & 31); }

#define GOLDEN 0x9E3779B97F4A7C15ull

// The finaliser of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014, figure 16).
__device__ inline u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
__device__ inline u64 draw(u64 key, u64 counter) { return mix(key + (counter + 1) * GOLDEN); }

// Magnitudes are compared as integers: |x| of IEEE numbers orders as its bits do, NaN above infinity.
__device__ inline u64 magnitude(double x) { return (u64)__double_as_longlong(x) & 0x7fffffffffffffffull; }
__device__ inline u64 magnitude(float x) { return (u64)((unsigned)__float_as_int(x) & 0x7fffffffu); }

// The sum over the L lanes (a power of two) of this lane's group, the same bits in each of them.
template <int L>
__device__ inline double group_sum(double v) {
#pragma unroll
    for (int half = L / 2; half > 0; half /= 2) v += __shfl_xor_sync(ALL, v, half);
    return v;
}

// The sum over the block, in thread 0 only; all threads call it.
__device__ inline double block_sum(double v) {
    __shared__ double parts[WARPS];
    v = group_sum<32>(v);
    if (lane_number() == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    double total = 0.0;
    if (threadIdx.x == 0)
        for (int k = 0; k < WARPS; ++k) total += parts[k];
    __syncthreads();
    return total;
}

// A running sum and the rounding error that it has made so far (Knuth, The art of computer programming 2, theorem 4.2.2 B).
struct Sum {
    double total = 0.0, lost = 0.0;
    __device__ inline void add(double term) {
        const double after = total + term, added = after - total;
        lost += (total - (after - added)) + (term - added);
        total = after;
    }
    // The sum; where it has overflowed, the infinity or NaN itself.
    __device__ inline double value() const { return lost - lost == 0.0 ? total + lost : total; }
};

// out[j] = sum over i < count of partial[i * width + j], for j = the block's number. grid: width blocks.
KERNEL finish(const double* partial, i64 count, i64 width, double* out) {
    Sum sum;
    for (i64 i = threadIdx.x; i < count; i += THREADS) sum.add(partial[i * width + blockIdx.x]);
    const double total = block_sum(sum.value());
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}
