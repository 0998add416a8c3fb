/* sql_text.h: SQL put together in a buffer that is used again. Only names of ours and numbers go
 * in: never what came from outside. */
#ifndef BLOTTER_DRAINER_POSTGRES_SQL_TEXT_H
#define BLOTTER_DRAINER_POSTGRES_SQL_TEXT_H

#include <stddef.h>

struct sql_text {
    char *text;
    size_t length, capacity;
};

void sql_text_clear(struct sql_text *); /* keeps the memory */
void sql_text_release(struct sql_text *);
void sql_text_add(struct sql_text *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
