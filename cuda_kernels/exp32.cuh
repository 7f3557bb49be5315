// exp(x) for float x in [-87, 0], within 2**-20: the operations of the CPU's exp32, whose bound the
// recheck of shares rests on. ex2.approx would be faster and is off by more where x is far from 0.
#pragma once

#define EXP32_FLOOR (-87.0f)  // exp(-87) is still a normal float

__device__ __forceinline__ float exp32(float x) {
    const float n = floorf(x * 1.44269504f + 0.5f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 720.0f + r * (1.0f / 5040.0f);
    p = 1.0f / 120.0f + r * p;
    p = 1.0f / 24.0f + r * p;
    p = 1.0f / 6.0f + r * p;
    p = 0.5f + r * p;
    p = 1.0f + r * p;
    p = 1.0f + r * p;
    return p * __int_as_float((static_cast<int>(n) + 127) << 23);
}

// What lies further below the largest than float holds adds nothing.
__device__ __forceinline__ float weight_below(float below) {
    return below < EXP32_FLOOR ? 0.0f : exp32(fminf(below, 0.0f));
}
