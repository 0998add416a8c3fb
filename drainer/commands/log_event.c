/* log_event.c: see log_event.h. */
#include "drainer/commands/log_event.h"

#include "drainer/log.h"

void log_event(const char *link, const char *journal, enum blotter_event event, const char *text)
{
    switch (event) {
    case BLOTTER_EVENT_REDIS_UP:
        log_debug(link, "connected to %s", text);
        break;
    case BLOTTER_EVENT_REDIS_DOWN:
        log_warn(link, "%s", text);
        break;
    case BLOTTER_EVENT_REDIS_REFUSES:
        log_warn(link, "refuses records, they are kept and sent again: %s", text);
        break;
    case BLOTTER_EVENT_FULL:
    case BLOTTER_EVENT_ROOM:
        break; /* whose records they are counts them */
    case BLOTTER_EVENT_DAMAGED:
        log_warn(journal, "damaged records, which are lost: %s", text);
        break;
    case BLOTTER_EVENT_EVICTED:
        log_warn(journal, "sent records without word of their commit made room: %s", text);
        break;
    case BLOTTER_EVENT_RESEND:
        log_warn(journal, "sent again: %s", text);
        break;
    case BLOTTER_EVENT_NOT_SYNCED:
        log_warn(journal, "the disk does not take the journal: %s", text);
        break;
    case BLOTTER_EVENT_SYNCED:
        log_info(journal, "the disk takes the journal again");
        break;
    case BLOTTER_EVENT_LEFT_ALONE:
        log_warn(journal, "left alone: %s", text);
        break;
    case BLOTTER_EVENT_CLOCK:
        log_warn(journal, "%s", text);
        break;
    }
}
