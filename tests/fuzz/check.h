/* check.h: what a fuzz target asserts, in every build: what does not hold is printed, and ends the
 * program. */
#ifndef BLOTTER_TESTS_CHECK_H
#define BLOTTER_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

#endif
