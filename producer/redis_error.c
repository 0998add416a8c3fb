/* redis_error.c: see redis_error.h. */
#include "producer/redis_error.h"

#include <stddef.h>
#include <string.h>

struct redis_error {
    const char *begin;
    enum redis_error_action action;
    const char *meaning;
};

/* clang-format off */
static const struct redis_error redis_errors[] = {
#define X(begin, action, meaning) {begin, REDIS_ERROR_##action, meaning},
    REDIS_ERRORS(X)
#undef X
};
/* clang-format on */

static const struct redis_error *redis_error_find(const char *text)
{
    for (size_t i = 0; i < sizeof redis_errors / sizeof redis_errors[0]; i++) {
        size_t length = strlen(redis_errors[i].begin);

        if (strncmp(text, redis_errors[i].begin, length) == 0 &&
            (text[length] == ' ' || text[length] == '\0')) {
            return &redis_errors[i];
        }
    }
    return NULL;
}

enum redis_error_action redis_error_action(const char *text)
{
    const struct redis_error *error = redis_error_find(text);

    return error == NULL ? REDIS_ERROR_OTHER : error->action;
}

const char *redis_error_meaning(const char *text)
{
    const struct redis_error *error = redis_error_find(text);

    return error == NULL ? NULL : error->meaning;
}

const char *redis_error_of_setting(const char *text)
{
    const struct redis_error *error = redis_error_find(text);

    return error != NULL && error->action == REDIS_ERROR_SETTING ? error->meaning : NULL;
}
