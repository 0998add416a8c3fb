/* sql_text.c: see sql_text.h. */
#include "drainer/postgres/sql_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "drainer/memory.h"

void sql_text_clear(struct sql_text *sql)
{
    sql->length = 0;
}

void sql_text_release(struct sql_text *sql)
{
    free(sql->text);
    *sql = (struct sql_text){0};
}

void sql_text_add(struct sql_text *sql, const char *format, ...)
{
    for (;;) {
        size_t room = sql->capacity - sql->length;
        va_list args;
        int length;

        va_start(args, format);
        length = vsnprintf(room == 0 ? NULL : sql->text + sql->length, room, format, args);
        va_end(args);
        if (length < 0) {
            abort(); /* a wrong format: our mistake */
        }
        if ((size_t)length < room) {
            sql->length += (size_t)length;
            return;
        }
        sql->text =
            array_grow_or_abort(sql->text, &sql->capacity, sql->length + (size_t)length + 1, 1);
    }
}
