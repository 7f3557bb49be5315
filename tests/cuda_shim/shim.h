// A block of CUDA threads on one CPU thread, for tests of a kernel's own source.
//
// Every thread is a fibre that runs until a barrier or a shuffle and then lets the next one run, in
// an order that the test chooses: what depends on the order, for want of a barrier, shows. Shared
// memory starts as rubbish. A barrier that some threads never reach is an error and not a hang.
#pragma once
#include <setjmp.h>
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
#define __launch_bounds__(threads)
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
    ucontext_t context;  // where it starts
    jmp_buf place;       // where it waits: a jump asks the system for nothing, swapcontext does
    bool started = false;
    dim3 thread;
    int number = 0;
    bool done = false;
    unsigned passed = 0;   // barriers of the block
    unsigned shuffled = 0; // exchanges of the warp
    unsigned char slot[16] = {};
};

// Fibres that wait for one another: how many have come to each meeting, and how many meetings the
// first that ended has been at.
struct Group {
    int size = 0;
    unsigned left = ~0u;
    std::vector<int> arrived;
};

struct Block {
    std::vector<Fibre> fibres;
    Group all;
    std::vector<Group> warps;
    jmp_buf scheduler;
    Fibre* now = nullptr;
    dim3 block, size, grid;
    bool moved = false;
    bool failed = false;

    void end() {
        Group& warp = warps[now->number / WARP_SIZE];
        now->done = moved = true;
        all.left = std::min(all.left, now->passed);
        warp.left = std::min(warp.left, now->shuffled);
    }
};

inline Block*& current() {
    static Block* block = nullptr;
    return block;
}
// Stacks are kept from block to block: the system takes and gives such memory slowly.
inline char* stack_of(size_t fibre) {
    static std::vector<std::unique_ptr<char[]>> stacks;
    while (stacks.size() <= fibre) stacks.emplace_back(new char[STACK]);
    return stacks[fibre].get();
}
inline std::vector<unsigned char>& dynamic() {
    static std::vector<unsigned char> memory;
    return memory;
}

inline void yield() {
    Block& b = *current();
    if (!_setjmp(b.now->place)) _longjmp(b.scheduler, 1);
}

// Let a fibre run until it yields or ends. Not inlined: a jump back restores this frame alone.
__attribute__((noinline)) inline void resume(Block& b, Fibre& f) {
    b.now = &f;
    if (_setjmp(b.scheduler)) return;
    if (f.started) _longjmp(f.place, 1);
    f.started = true;
    setcontext(&f.context);
}

// Wait until all fibres of a group have come as far.
inline void meet(Group& group, unsigned& count) {
    Block& b = *current();
    const unsigned mine = count++;
    b.moved = true;
    if (group.arrived.size() <= mine) group.arrived.push_back(0);
    group.arrived[mine]++;
    for (;;) {
        if (group.left <= mine) {
            b.failed = true;  // one ended before a barrier that others wait at
            yield();
        }
        if (group.arrived[mine] == group.size) return;
        yield();
    }
}

inline void barrier() {
    Block& b = *current();
    meet(b.all, b.now->passed);
}

template <class T>
inline T exchange(T value, int lane_of_value) {
    static_assert(sizeof(T) <= 16, "one value a thread");
    Block& b = *current();
    const int first = b.now->number / WARP_SIZE * WARP_SIZE;
    Group& warp = b.warps[b.now->number / WARP_SIZE];
    std::memcpy(b.now->slot, &value, sizeof value);
    meet(warp, b.now->shuffled);
    T found = value;
    if (lane_of_value >= 0 && lane_of_value < warp.size)
        std::memcpy(&found, b.fibres[first + lane_of_value].slot, sizeof found);
    meet(warp, b.now->shuffled);
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
    ucontext_t here;
    getcontext(&here);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                Block b;
                current() = &b;
                b.block = {x, y, z}, b.size = size, b.grid = grid;
                b.fibres.resize(size.x * size.y * size.z);
                b.all.size = static_cast<int>(b.fibres.size());
                b.warps.resize((b.fibres.size() + WARP_SIZE - 1) / WARP_SIZE);
                std::vector<int> turn(b.fibres.size());
                for (size_t k = 0; k < b.fibres.size(); k++) {
                    Fibre& f = b.fibres[k];
                    f.number = static_cast<int>(k);
                    b.warps[k / WARP_SIZE].size++;
                    f.thread.x = k % size.x;
                    f.thread.y = k / size.x % size.y;
                    f.thread.z = k / size.x / size.y;
                    turn[k] = static_cast<int>(k);
                    f.context = here;
                    f.context.uc_stack.ss_sp = stack_of(k);
                    f.context.uc_stack.ss_size = STACK;
                    f.context.uc_link = nullptr;
                    makecontext(
                        &f.context,
                        +[] {
                            (*shared_body)();
                            current()->end();
                            _longjmp(current()->scheduler, 1);
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
                        resume(b, f);
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
template <class T>
inline T atomicMin(T* at, T value) {
    const T before = *at;
    *at = std::min(before, value);
    return before;
}
inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
