/* resolve.c: see resolve.h. */
#include "producer/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/background.h"

struct lookup {
    resolve_done *done;
    void *owner;
    unsigned pick;
    int error;
    struct addrinfo *result;
    char host[];
};

bool resolve_is_literal(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void lookup_work(void *task)
{
    struct lookup *lookup = task;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    lookup->error = getaddrinfo(lookup->host, NULL, &hints, &lookup->result);
}

static void lookup_release(void *task)
{
    struct lookup *lookup = task;
    if (lookup->result != NULL) {
        freeaddrinfo(lookup->result);
    }
    free(lookup);
}

static bool pick_address(const struct lookup *lookup, char out[RESOLVE_ADDRESS_BYTES])
{
    unsigned count = 0;
    for (const struct addrinfo *each = lookup->result; each != NULL; each = each->ai_next) {
        count++;
    }
    if (count == 0) {
        return false;
    }
    const struct addrinfo *each = lookup->result;
    for (unsigned skip = lookup->pick % count; skip > 0; skip--) {
        each = each->ai_next;
    }
    return getnameinfo(each->ai_addr, each->ai_addrlen, out, RESOLVE_ADDRESS_BYTES, NULL, 0,
                       NI_NUMERICHOST) == 0;
}

static void lookup_done(void *task)
{
    struct lookup *lookup = task;
    char address[RESOLVE_ADDRESS_BYTES], why[320];
    bool found = lookup->error == 0 && pick_address(lookup, address);
    snprintf(why, sizeof why, "cannot look up %.200s: %s", lookup->host,
             lookup->error != 0 ? gai_strerror(lookup->error) : "no address");
    lookup->done(lookup->owner, found ? address : NULL, why);
}

struct background *resolve_start(struct event_base *base, const char *host, unsigned pick,
                                 resolve_done *done, void *owner)
{
    static const struct background_task task = {lookup_work, lookup_done, lookup_release};
    size_t length = strlen(host) + 1;
    struct lookup *lookup = calloc(1, sizeof *lookup + length);
    if (lookup == NULL) {
        return NULL;
    }
    memcpy(lookup->host, host, length);
    lookup->done = done;
    lookup->owner = owner;
    lookup->pick = pick;
    return background_start(base, &task, lookup);
}
