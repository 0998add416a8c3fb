/* fuzz_text.c: texts that come by another way than records: URLs of Redis, QuestDB's configuration,
 * times, ids and names of streams. The first byte says which. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/mirror/questdb_conf.h"
#include "producer/redis_url.h"
#include "schema/iso_time.h"
#include "schema/json_line.h"
#include "schema/stream.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_redis_url(const char *text)
{
    static struct redis_url url;
    char error[512];

    if (redis_url_parse(&url, text, error, sizeof error) != 0) {
        CHECK(strncmp(error, "Redis URL: ", 11) == 0);
        return;
    }
    CHECK(url.unix_socket || url.sentinel || url.port > 0);
}

static void try_questdb(const char *text)
{
    struct questdb_conf conf;
    char error[512];

    if (questdb_conf_parse(&conf, text, error, sizeof error) == 0) {
        CHECK(conf.host[0] != '\0' && conf.port > 0 && conf.port <= 65535);
    } else {
        CHECK(error[0] != '\0');
    }
}

static void try_names(const char *text, size_t length)
{
    char exchange[LIMIT_EXCHANGE_BYTES + 1], lane[LIMIT_EXCHANGE_BYTES + 1], key[64];
    char name[STREAM_NAME_BYTES], id_text[STREAM_ENTRY_ID_BYTES];
    struct stream_entry_id id, id_again;
    int64_t time_ns;

    if (stream_parse(text, length, exchange, lane)) {
        stream_name(name, exchange, lane);
        CHECK(strlen(name) == length && memcmp(name, text, length) == 0);
    }
    if (stream_entry_id_parse(text, length, &id)) {
        stream_entry_id_format(id_text, id);
        CHECK(stream_entry_id_parse(id_text, strlen(id_text), &id_again));
        CHECK(stream_entry_id_compare(id, id_again) == 0);
    }
    iso_time_read(text, length, &time_ns);
    for (size_t at = 0; at <= length && at < 16; at++) {
        json_line_key_at(text, length, at, key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = size > 0 ? size - 1 : 0;
    char *text = malloc(length + 1), *bare = malloc(length + (length == 0));

    memcpy(text, size > 0 ? (const char *)data + 1 : "", length);
    text[length] = '\0';
    memcpy(bare, text, length);
    switch (size > 0 ? data[0] % 3 : 0) {
    case 0:
        try_redis_url(text);
        break;
    case 1:
        try_questdb(text);
        break;
    default:
        try_names(bare, length); /* without a NUL behind it */
    }
    free(bare);
    free(text);
    return 0;
}
