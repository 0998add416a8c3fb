/* command_list.c: see command_list.h. */
#include "drainer/command_list.h"

#include <string.h>

/* clang-format off */
const struct command commands[COMMAND_COUNT] = {
#define X(id, name_, arguments_, fewest, most, text_) \
    {.name = #name_,                                  \
     .arguments = arguments_,                         \
     .fewest_arguments = fewest,                      \
     .most_arguments = most,                          \
     .text = text_},
    COMMANDS(X)
#undef X
};
/* clang-format on */

int command_of(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}
