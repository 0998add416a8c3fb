/* terminal.h: text from servers, strategies and other users, made safe to print.
 *
 * A terminal obeys control characters: ESC begins a command, and some take U+009B (CSI) as one.
 * Whoever writes a record could so change what an operator sees. */
#ifndef BLOTTER_DRAINER_TERMINAL_H
#define BLOTTER_DRAINER_TERMINAL_H

#include <stddef.h>
#include <stdio.h>

/* Returns the bytes of the character at `at`, if it may be printed as it is; 0 if its first byte is
 * to be escaped: a control character (also U+0080 to U+009F), or not UTF-8. Needs at < end. */
size_t terminal_character(const char *at, const char *end);

/* Prints the text, with \xNN for each byte that may not be printed. */
void terminal_print(FILE *, const char *text);

#endif
