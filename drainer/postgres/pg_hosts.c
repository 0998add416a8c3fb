/* pg_hosts.c: see pg_hosts.h. */
#include "drainer/postgres/pg_hosts.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MIN_MS = 2000 };

static unsigned pg_hosts_items(const char *list)
{
    unsigned count = 1;

    for (; list != NULL && *list != '\0'; list++) {
        count += *list == ',';
    }
    return count;
}

/* Returns the list with its first items at the end, or NULL where nothing changes. */
static char *pg_hosts_rotate(const char *list, unsigned by)
{
    unsigned count = pg_hosts_items(list);
    const char *at = list;
    char *out = NULL;

    for (unsigned i = 0; i < by % count; i++) {
        at = strchr(at, ',') + 1;
    }
    if (at != list && asprintf(&out, "%s,%.*s", at, (int)(at - list) - 1, list) < 0) {
        abort();
    }
    return out;
}

void pg_hosts_begin_with(struct pg_hosts *hosts, const char *conninfo, unsigned first)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

    *hosts = (struct pg_hosts){NULL, NULL, NULL};
    for (PQconninfoOption *each = options; each != NULL && each->keyword != NULL; each++) {
        char **list = strcmp(each->keyword, "host") == 0       ? &hosts->host
                      : strcmp(each->keyword, "hostaddr") == 0 ? &hosts->hostaddr
                      : strcmp(each->keyword, "port") == 0     ? &hosts->port
                                                               : NULL;
        if (list != NULL) {
            *list = pg_hosts_rotate(each->val, first);
        }
    }
    PQconninfoFree(options);
}

unsigned pg_hosts_count(const char *conninfo)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    unsigned count = 1;

    for (PQconninfoOption *each = options; each != NULL && each->keyword != NULL; each++) {
        bool names = strcmp(each->keyword, "host") == 0 || strcmp(each->keyword, "hostaddr") == 0;

        count = names && pg_hosts_items(each->val) > count ? pg_hosts_items(each->val) : count;
    }
    PQconninfoFree(options);
    return count;
}

unsigned pg_hosts_patience_ms(const char *conninfo, unsigned all_ms)
{
    unsigned ms = all_ms / pg_hosts_count(conninfo);

    return ms > PATIENCE_MIN_MS ? ms : PATIENCE_MIN_MS;
}

/* Says whether a list's item of that number is this text; a list of one item is all hosts'. */
static bool pg_hosts_item_is(const char *list, unsigned number, const char *text)
{
    for (number %= pg_hosts_items(list); number > 0; number--) {
        list = strchr(list, ',') + 1;
    }
    return text != NULL && strncmp(list, text, strlen(text)) == 0 &&
           (list[strlen(text)] == ',' || list[strlen(text)] == '\0');
}

unsigned pg_hosts_behind(const char *conninfo, unsigned first, const PGconn *connection)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    const char *hosts = NULL, *addresses = NULL, *ports = NULL;
    unsigned count = pg_hosts_count(conninfo), passed = 0;

    for (PQconninfoOption *each = options; each != NULL && each->keyword != NULL; each++) {
        hosts = strcmp(each->keyword, "host") == 0 ? each->val : hosts;
        addresses = strcmp(each->keyword, "hostaddr") == 0 ? each->val : addresses;
        ports = strcmp(each->keyword, "port") == 0 ? each->val : ports;
    }
    hosts = hosts != NULL ? hosts : addresses;
    while (hosts != NULL && passed < count &&
           (!pg_hosts_item_is(hosts, first + passed, PQhost(connection)) ||
            (ports != NULL && !pg_hosts_item_is(ports, first + passed, PQport(connection))))) {
        passed++;
    }
    PQconninfoFree(options);
    return first + 1 + (passed < count ? passed : 0);
}

void pg_hosts_release(struct pg_hosts *hosts)
{
    free(hosts->host);
    free(hosts->hostaddr);
    free(hosts->port);
    *hosts = (struct pg_hosts){NULL, NULL, NULL};
}

int pg_hosts_poll(PGconn *connection)
{
    switch (PQconnectPoll(connection)) {
    case PGRES_POLLING_READING:
        return EV_READ;
    case PGRES_POLLING_WRITING:
        return EV_WRITE;
    case PGRES_POLLING_OK:
        return 0;
    default:
        return -1;
    }
}
