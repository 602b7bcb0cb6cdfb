// Runs CUDA kernels on the CPU, for tests of their arithmetic and of their synchronisation: a block's threads are fibres
// that change over at barriers, shuffles and ballots. Blocks run one after the other.
//
// Within a block, threads advance in an order drawn from `seed`, so that a missing barrier shows as a wrong result for
// some seed. A barrier that not all threads reach, or a shuffle that not all lanes of the mask join, ends in an error
// (a return code other than 0) instead of a wait without end. Compiled by g++ with the kernel's source after it.

#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

using std::exp, std::expm1, std::fabs, std::fmax, std::fmin, std::isfinite, std::log, std::log1p, std::sqrt, std::cos, std::isnan;

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

namespace emulate {

constexpr int OK = 0, STUCK = 1, OUTSIDE_MASK = 2;
constexpr size_t STACK = 1 << 16;

struct Place {
    unsigned x = 0;
};

enum class Wait { none, block, warp };

struct Fibre {
    jmp_buf here;  // where it goes on; its stack is begun through ucontext, which is slow, and kept from block to block
    bool begun = false;
    std::unique_ptr<char[]> stack;
    Wait wait = Wait::none;
    bool done = false;
    uint64_t given = 0;  // what it brings to a shuffle
    unsigned mask = 0;
};

struct Machine {
    jmp_buf home;
    std::vector<Fibre> fibres;
    int current = 0, error = OK;
    void (*kernel)(void**) = nullptr;
    void** arguments = nullptr;
};

inline Machine machine;
inline Place block_index, thread_index, grid_size;

inline void leave(Wait wait) {
    Fibre& self = machine.fibres[machine.current];
    self.wait = wait;
    if (_setjmp(self.here) == 0) _longjmp(machine.home, 1);
}

[[noreturn]] inline void live() {
    for (;;) {
        machine.kernel(machine.arguments);
        machine.fibres[machine.current].done = true;
        leave(Wait::none);
    }
}

// Let thread t run until it waits or ends.
inline void advance(int t) {
    Fibre& fibre = machine.fibres[t];
    machine.current = t;
    thread_index.x = t;
    if (_setjmp(machine.home)) return;
    if (fibre.begun) _longjmp(fibre.here, 1);
    fibre.begun = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fibre.stack.get();
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, live, 0);
    setcontext(&context);
}

// Whether everything in [lo, hi) that has not ended waits for `wait`, and at least one does.
inline bool all_wait(int lo, int hi, Wait wait) {
    bool some = false;
    for (int t = lo; t < hi; ++t) {
        const Fibre& fibre = machine.fibres[t];
        if (fibre.done) continue;
        if (fibre.wait != wait) return false;
        some = true;
    }
    return some;
}

inline void release(int lo, int hi) {
    for (int t = lo; t < hi; ++t) machine.fibres[t].wait = Wait::none;
}

inline bool mask_kept(int lo, int hi) {
    for (int t = lo; t < hi; ++t) {
        const Fibre& fibre = machine.fibres[t];
        for (int other = lo; other < hi && !fibre.done; ++other)
            if ((fibre.mask >> (other - lo) & 1u) && machine.fibres[other].done) return false;
    }
    return true;
}

inline uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

inline int run_block(int threads, uint64_t seed) {
    std::vector<int> order(threads);
    for (int t = 0; t < threads; ++t) order[t] = t;
    for (int t = threads - 1; t > 0 && seed; --t) std::swap(order[t], order[mix(seed + 31 * t) % (t + 1)]);
    for (int t = 0; t < threads; ++t) {
        Fibre& fibre = machine.fibres[t];
        fibre.done = false;
        fibre.wait = Wait::none;
    }
    for (int left = threads; left > 0;) {
        bool moved = false;
        for (int t : order) {
            Fibre& fibre = machine.fibres[t];
            if (fibre.done || fibre.wait != Wait::none) continue;
            advance(t);
            left -= fibre.done;
            moved = true;
        }
        for (int lo = 0; lo < threads; lo += 32)
            if (all_wait(lo, lo + 32, Wait::warp)) {
                if (!mask_kept(lo, lo + 32)) return OUTSIDE_MASK;
                release(lo, lo + 32);
                moved = true;
            }
        if (all_wait(0, threads, Wait::block)) {
            release(0, threads);
            moved = true;
        }
        if (!moved && left > 0) return STUCK;
    }
    return OK;
}

inline int launch(void (*kernel)(void**), void** arguments, int blocks, int threads, uint64_t seed) {
    while ((int)machine.fibres.size() < threads) {
        machine.fibres.emplace_back();
        machine.fibres.back().stack.reset(new char[STACK]);
    }
    machine.kernel = kernel;
    machine.arguments = arguments;
    grid_size.x = blocks;
    for (int b = 0; b < blocks; ++b) {
        block_index.x = seed ? blocks - 1 - b : b;
        const int error = run_block(threads, seed ? mix(seed + b) | 1 : 0);
        if (error) {
            for (Fibre& fibre : machine.fibres) fibre.begun = false;  // they hang in the middle of a kernel
            return error;
        }
    }
    return OK;
}

// A kernel called with the values that `arguments` points to.
template <class... A, size_t... I>
inline void apply(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}
template <class... A>
inline void call(void (*kernel)(A...), void** arguments) {
    apply(kernel, arguments, std::index_sequence_for<A...>{});
}

// What lane `source` of this warp gave; all lanes of the mask meet before and after, as on the card.
template <class T, class Source>
inline T meet(unsigned mask, T value, Source source) {
    static_assert(sizeof(T) <= 8);
    Fibre& self = machine.fibres[machine.current];
    const int lane = machine.current % 32, first = machine.current - lane;
    std::memcpy(&self.given, &value, sizeof(T));
    self.mask = mask;
    leave(Wait::warp);
    T out;
    std::memcpy(&out, &machine.fibres[first + source(lane)].given, sizeof(T));
    leave(Wait::warp);
    return out;
}

}  // namespace emulate

#define blockIdx emulate::block_index
#define threadIdx emulate::thread_index
#define gridDim emulate::grid_size

inline void __syncthreads() { emulate::leave(emulate::Wait::block); }

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int other) {
    return emulate::meet(mask, value, [other](int lane) { return lane ^ other; });
}

inline unsigned __ballot_sync(unsigned mask, bool vote) {
    using emulate::machine;
    emulate::Fibre& self = machine.fibres[machine.current];
    const int first = machine.current / 32 * 32;
    self.given = vote;
    self.mask = mask;
    emulate::leave(emulate::Wait::warp);
    unsigned out = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1u) out |= (unsigned)machine.fibres[first + lane].given << lane;
    emulate::leave(emulate::Wait::warp);
    return out;
}

template <class T>
inline T atomicAdd(T* place, T value) {
    const T before = *place;
    *place = before + value;
    return before;
}

// One rounding each; this file is compiled without contraction.
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline long long __double_as_longlong(double x) {
    long long out;
    std::memcpy(&out, &x, sizeof out);
    return out;
}
inline int __float_as_int(float x) {
    int out;
    std::memcpy(&out, &x, sizeof out);
    return out;
}
