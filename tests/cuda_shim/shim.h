// A block of CUDA threads on one CPU thread, for tests of a kernel's own source.
//
// Every thread is a fibre that runs until a barrier or a shuffle and then lets the next one run, in
// an order that the test chooses: what depends on the order, for want of a barrier, shows. Shared
// memory starts as rubbish. A barrier that some threads never reach is an error and not a hang.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static
using std::max;
using std::min;

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace shim {

constexpr int WARP_SIZE = 32;
constexpr size_t STACK = 64 * 1024;

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    dim3 thread;
    int number = 0;
    bool done = false;
    unsigned passed = 0;   // barriers of the block
    unsigned shuffled = 0; // exchanges of the warp
    unsigned char slot[16] = {};
};

struct Block {
    std::vector<Fibre> fibres;
    ucontext_t scheduler;
    Fibre* now = nullptr;
    dim3 block, size, grid;
    bool moved = false;
    bool failed = false;
};

inline Block*& current() {
    static Block* block = nullptr;
    return block;
}
inline std::vector<unsigned char>& dynamic() {
    static std::vector<unsigned char> memory;
    return memory;
}

inline void yield() {
    Block& b = *current();
    swapcontext(&b.now->context, &b.scheduler);
}

// Wait until all of these fibres that still run have come as far.
template <class Count>
inline void meet(int first, int last, Count count) {
    Block& b = *current();
    const unsigned mine = ++count(*b.now);
    b.moved = true;
    for (;;) {
        bool all = true;
        for (int k = first; k < last; k++) {
            if (b.fibres[k].done && count(b.fibres[k]) < mine) {
                b.failed = true;  // it ended before a barrier that others wait at
                yield();
            }
            all = all && count(b.fibres[k]) >= mine;
        }
        if (all) return;
        yield();
    }
}

inline void barrier() {
    const int n = static_cast<int>(current()->fibres.size());
    meet(0, n, [](Fibre& f) -> unsigned& { return f.passed; });
}

template <class T>
inline T exchange(T value, int lane_of_value) {
    static_assert(sizeof(T) <= 16, "one value a thread");
    Block& b = *current();
    const int first = b.now->number / WARP_SIZE * WARP_SIZE;
    const int last = std::min<int>(first + WARP_SIZE, static_cast<int>(b.fibres.size()));
    auto count = [](Fibre& f) -> unsigned& { return f.shuffled; };
    std::memcpy(b.now->slot, &value, sizeof value);
    meet(first, last, count);
    T found = value;
    if (lane_of_value >= 0 && first + lane_of_value < last)
        std::memcpy(&found, b.fibres[first + lane_of_value].slot, sizeof found);
    meet(first, last, count);
    return found;
}

inline int lane() { return current()->now->number % WARP_SIZE; }

// Return whether all blocks came to their end.
template <class Body>
bool run(dim3 grid, dim3 size, int order, size_t shared, Body body) {
    static Body* shared_body;
    shared_body = &body;
    // Rubbish that is a NaN as float and as double.
    dynamic().assign(shared + 16, 0xff);
    std::mt19937 draw(order);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                Block b;
                current() = &b;
                b.block = {x, y, z}, b.size = size, b.grid = grid;
                b.fibres.resize(size.x * size.y * size.z);
                std::vector<int> turn(b.fibres.size());
                for (size_t k = 0; k < b.fibres.size(); k++) {
                    Fibre& f = b.fibres[k];
                    f.number = static_cast<int>(k);
                    f.thread.x = k % size.x;
                    f.thread.y = k / size.x % size.y;
                    f.thread.z = k / size.x / size.y;
                    f.stack.reset(new char[STACK]);
                    turn[k] = static_cast<int>(k);
                    getcontext(&f.context);
                    f.context.uc_stack.ss_sp = f.stack.get();
                    f.context.uc_stack.ss_size = STACK;
                    f.context.uc_link = &b.scheduler;
                    makecontext(
                        &f.context,
                        +[] {
                            (*shared_body)();
                            current()->now->done = true;
                            current()->moved = true;
                        },
                        0);
                }
                if (order == 1) std::reverse(turn.begin(), turn.end());
                for (size_t left = b.fibres.size(); left > 0;) {
                    if (order > 1) std::shuffle(turn.begin(), turn.end(), draw);
                    b.moved = false;
                    left = 0;
                    for (int k : turn) {
                        Fibre& f = b.fibres[k];
                        if (f.done) continue;
                        b.now = &f;
                        swapcontext(&b.scheduler, &f.context);
                        left += !f.done;
                        if (b.failed) return false;
                    }
                    // No thread moves: a barrier that not all can reach.
                    if (left && !b.moved) return false;
                }
            }
    return true;
}

}  // namespace shim

#define threadIdx (shim::current()->now->thread)
#define blockIdx (shim::current()->block)
#define blockDim (shim::current()->size)
#define gridDim (shim::current()->grid)
#define __syncthreads() shim::barrier()
#define __shfl_down_sync(mask, value, apart) shim::exchange(value, shim::lane() + (apart) < 32 ? shim::lane() + (apart) : -1)
#define __shfl_xor_sync(mask, value, apart) shim::exchange(value, shim::lane() ^ (apart))

template <class T>
inline T atomicAdd(T* at, T value) {
    const T before = *at;
    *at += value;
    return before;
}
inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
