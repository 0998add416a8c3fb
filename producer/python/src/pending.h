/* pending.h: stands in for calls of the library that are not there yet. */
#ifndef PENDING_H
#define PENDING_H
#include "schema/record.h"
#include <blotter.h>
#include <stdlib.h>
#include <string.h>
#ifndef BLOTTER_HAS_SUBMIT
typedef struct blotter_binding blotter_binding;
enum blotter_kind { BLOTTER_KIND_ORDER };
struct blotter_entry {
    enum blotter_kind kind;
    const void *record;
    const blotter_binding *bound;
};
struct blotter_binding {
    int kind;
    union {
        struct blotter_order o;
        struct blotter_trade t;
        struct blotter_cash c;
        struct blotter_position p;
        struct blotter_instrument i;
        struct blotter_balance b;
    } of;
};
static inline size_t pending_size(int kind)
{
    return kind == RECORD_ORDER      ? sizeof(struct blotter_order)
           : kind == RECORD_TRADE    ? sizeof(struct blotter_trade)
           : kind == RECORD_CASH     ? sizeof(struct blotter_cash)
           : kind == RECORD_POSITION ? sizeof(struct blotter_position)
           : kind == RECORD_BALANCE  ? sizeof(struct blotter_balance)
                                     : sizeof(struct blotter_instrument);
}
static inline int64_t pending_one(blotter_producer *p, int kind, const void *r)
{
    switch (kind) {
    case RECORD_ORDER:
        return blotter_order(p, r);
    case RECORD_TRADE:
        return blotter_trade(p, r);
    case RECORD_CASH:
        return blotter_cash(p, r);
    case RECORD_BALANCE:
        return blotter_balance(p, r);
    case RECORD_POSITION:
        return blotter_position(p, r);
    default:
        return blotter_instrument(p, r);
    }
}
static inline blotter_binding *blotter_bind(blotter_producer *p, enum blotter_kind kind,
                                            const void *c)
{
    (void)p;
    blotter_binding *b = calloc(1, sizeof *b);
    b->kind = (int)kind;
    memcpy(&b->of, c, pending_size((int)kind));
    return b;
}
static inline void blotter_unbind(blotter_binding *b)
{
    free(b);
}
static inline int64_t blotter_submit_bound(blotter_producer *p, const blotter_binding *b,
                                           const void *r)
{
    char both[2048];
    size_t n = pending_size(b->kind);
    memcpy(both, &b->of, n);
    for (size_t i = 0; i < n; i++) {
        both[i] = (char)(both[i] | ((const char *)r)[i]);
    }
    return pending_one(p, b->kind, both);
}
static inline int64_t blotter_submit(blotter_producer *p, const struct blotter_entry *e, size_t n)
{
    int64_t first = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t s = e[i].bound ? blotter_submit_bound(p, e[i].bound, e[i].record)
                               : pending_one(p, (int)e[i].kind, e[i].record);
        if (s <= 0)
            return s;
        if (!i)
            first = s;
    }
    return first;
}
#endif
#endif
