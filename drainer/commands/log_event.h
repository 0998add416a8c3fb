/* log_event.h: what a sender of libblotter tells, as a line of the log; for the commands that send.
 */
#ifndef BLOTTER_DRAINER_COMMANDS_LOG_EVENT_H
#define BLOTTER_DRAINER_COMMANDS_LOG_EVENT_H

#include "producer/blotter.h"

/* Logs an event. link, journal: the objects of lines about the connection to Redis, and about
 * records. */
void log_event(const char *link, const char *journal, enum blotter_event, const char *text);

#endif
