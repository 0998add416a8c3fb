/* terminal.c: see terminal.h. */
#include "drainer/terminal.h"

#include <stdbool.h>
#include <string.h>

#include "schema/text.h"

size_t terminal_character(const char *at, const char *end)
{
    return text_printable((const unsigned char *)at, (const unsigned char *)end);
}

void terminal_print(FILE *out, const char *text)
{
    const char *end = text + strlen(text);

    while (text < end) {
        size_t length = terminal_character(text, end);

        if (length == 0) {
            fprintf(out, "\\x%02x", (unsigned char)*text++);
        } else {
            fwrite(text, 1, length, out);
            text += length;
        }
    }
}
