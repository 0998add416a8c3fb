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
        log_warn(link, "Redis refuses records, which stay in the journal and are sent again: %s",
                 text);
        break;
    case BLOTTER_EVENT_FULL:
    case BLOTTER_EVENT_ROOM:
        break; /* whose records they are counts them */
    case BLOTTER_EVENT_DAMAGED:
        log_warn(journal, "records were damaged in the journal and are lost: %s", text);
        break;
    case BLOTTER_EVENT_EVICTED:
        log_warn(journal,
                 "the journal is full, so sent records were evicted before they were confirmed: %s",
                 text);
        break;
    case BLOTTER_EVENT_RESEND:
        log_warn(journal, "sent again: %s", text);
        break;
    case BLOTTER_EVENT_NOT_SYNCED:
        log_warn(journal,
                 "the journal cannot be written to its disk, so records may not survive a loss of "
                 "power: %s",
                 text);
        break;
    case BLOTTER_EVENT_SYNCED:
        log_info(journal, "the journal is written to its disk again");
        break;
    case BLOTTER_EVENT_LEFT_ALONE:
        log_warn(journal, "left alone: %s", text);
        break;
    case BLOTTER_EVENT_CLOCK:
        log_warn(journal, "%s", text);
        break;
    }
}
