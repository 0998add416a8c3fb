/* status.c: the statuses' texts. */
#include "producer/blotter.h"
#include "producer/public.h"

BLOTTER_PUBLIC const char *blotter_status_text(int status)
{
    switch (status) {
#define X(name, value, text) \
    case BLOTTER_##name:     \
        return text;
        BLOTTER_STATUSES(X)
#undef X
    default:
        return status > 0 ? "accepted" : "unknown status";
    }
}
