/* fuzz_answers.c: answers of a cluster's nodes and of sentinels, through hiredis, and what is
 * believed of them. The first byte says to which question. */
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/cluster.h"
#include "producer/redis_reader.h"
#include "producer/sentinel.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum question { ASKED_SLOTS, ASKED_ADDRESS, ASKED_EPOCH, ASKED_ROLE, REDIRECTED, QUESTIONS };

static const struct redis_host here = {"here.example", 7000};

static void check_host(const struct redis_host *host)
{
    CHECK(host->port > 0 && host->port <= UINT16_MAX);
    CHECK(host->host[0] != '\0' && memchr(host->host, '\0', sizeof host->host) != NULL);
}

static void try_slots(const redisReply *reply)
{
    struct cluster_masters masters;

    if (!cluster_masters_parse(reply, &here, &masters)) {
        CHECK(masters.nodes == NULL && masters.count == 0);
        return;
    }
    CHECK(masters.count > 0 && masters.count <= CLUSTER_MASTERS);
    for (size_t i = 0; i < masters.count; i++) {
        check_host(&masters.nodes[i]);
        for (size_t k = 0; k < i; k++) {
            CHECK(!cluster_host_equal(&masters.nodes[i], &masters.nodes[k]));
        }
    }
    cluster_masters_release(&masters);
}

static void try_address(const redisReply *reply)
{
    struct redis_host master;

    if (sentinel_address_parse(reply, &master)) {
        check_host(&master);
    }
}

/* A redirection that is written again is the same one. */
static void try_redirection(const char *error)
{
    struct cluster_redirect redirect, again;
    char text[REDIS_URL_HOST_BYTES + 64];

    if (!cluster_redirect_parse(error, here.host, &redirect)) {
        return;
    }
    check_host(&redirect.to);
    CHECK(redirect.slot >= 0 && redirect.slot < 16384);
    snprintf(text, sizeof text, "%s %d %s:%d", redirect.ask ? "ASK" : "MOVED", redirect.slot,
             redirect.to.host, redirect.to.port);
    CHECK(cluster_redirect_parse(text, "", &again));
    CHECK(again.ask == redirect.ask && again.slot == redirect.slot &&
          cluster_host_equal(&again.to, &redirect.to));
}

static void try_reply(enum question question, const redisReply *reply)
{
    switch (question) {
    case ASKED_SLOTS:
        try_slots(reply);
        break;
    case ASKED_ADDRESS:
        try_address(reply);
        break;
    case ASKED_EPOCH:
        CHECK(sentinel_epoch_parse(reply) >= -1 && sentinel_epoch_parse(reply) < INT64_MAX);
        break;
    case ASKED_ROLE:
        (void)sentinel_is_master(reply);
        break;
    default:
        if (reply->type == REDIS_REPLY_ERROR) {
            try_redirection(reply->str);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    redis_reader_bound(reader);
    if (size > 1) {
        redisReaderFeed(reader, (const char *)data + 1, size - 1);
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
            try_reply((enum question)(data[0] % QUESTIONS), reply);
            freeReplyObject(reply);
        }
    }
    redisReaderFree(reader);
    return 0;
}
