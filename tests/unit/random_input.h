/* random_input.h: repeatable random input for the unit tests. The seed is printed, and taken from
 * BLOTTER_SEED if that is set. */
#ifndef BLOTTER_TESTS_RANDOM_INPUT_H
#define BLOTTER_TESTS_RANDOM_INPUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

static inline uint64_t random_next(void) /* splitmix64 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 to limit - 1. */
static inline unsigned random_below(unsigned limit)
{
    return (unsigned)(random_next() % limit);
}

static inline void random_begin(void)
{
    const char *given = getenv("BLOTTER_SEED");
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    random_state =
        given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_sec ^ (uint64_t)now.tv_nsec << 20;
    printf("BLOTTER_SEED=%llu\n", (unsigned long long)random_state);
}

#endif
