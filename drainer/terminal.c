/* terminal.c: see terminal.h. */
#include "drainer/terminal.h"

#include <stdbool.h>
#include <string.h>

#include "schema/text.h"

size_t terminal_character(const char *at, const char *end)
{
    const unsigned char *bytes = (const unsigned char *)at;
    size_t length = text_sequence(bytes, (const unsigned char *)end);
    bool is_c0 = bytes[0] < 0x20 || bytes[0] == 0x7f;
    bool is_c1 = length == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0;

    return is_c0 || is_c1 ? 0 : length;
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
