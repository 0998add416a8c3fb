/* pg_result.h: reads results of a server, or of whoever has taken its place, that may have other
 * rows than were asked for. */
#ifndef BLOTTER_DRAINER_POSTGRES_PG_RESULT_H
#define BLOTTER_DRAINER_POSTGRES_PG_RESULT_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Returns a value; "" also where there is no such row or column. Valid as long as the result. */
static inline const char *pg_result_text(const PGresult *result, int row, int column)
{
    return row < PQntuples(result) && column < PQnfields(result) ? PQgetvalue(result, row, column)
                                                                 : "";
}

/* Tells whether a COPY begins. libpq hands such a result out again and again until the COPY is
 * over: who has asked for none has to give the connection up. */
static inline bool pg_result_begins_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

#endif
