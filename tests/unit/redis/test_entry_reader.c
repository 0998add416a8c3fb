/* test_entry_reader.c: entries out of answers, read by hiredis' own reader; answers come in pieces
 * cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "drainer/redis/entry_reader.h"
#include "drainer/redis/redis_reply.h"
#include "tests/unit/random_input.h"

#define TEXT_BYTES (1 << 20)

struct text {
    char bytes[TEXT_BYTES];
    size_t length;
};

static struct text seen, expected, answer;
static char stream[64];
static enum entry_place place;

/* --- what is seen --- */

static void add_bytes(struct text *text, const char *bytes, size_t length)
{
    assert_true(text->length + length < TEXT_BYTES);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void add_text(struct text *text, const char *string)
{
    add_bytes(text, string, strlen(string));
}

static void add_entry(struct text *text, const char *name, struct stream_entry_id id,
                      const struct raw_field *fields, size_t count)
{
    char head[128];

    snprintf(head, sizeof head, "%s %ju-%ju", name, (uintmax_t)id.ms, (uintmax_t)id.seq);
    add_text(text, head);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(fields[i].bytes);
        add_text(text, " <");
        add_bytes(text, fields[i].bytes, fields[i].length);
        add_text(text, ">");
    }
    add_text(text, "\n");
}

static enum entry_place on_answer(void *owner)
{
    (void)owner;
    stream[0] = '\0';
    return place;
}

static void on_stream(void *owner, const char *name, size_t length)
{
    (void)owner;
    snprintf(stream, sizeof stream, "%.*s", (int)length, name);
}

static void on_entry(void *owner, struct stream_entry_id id, const struct raw_field *fields,
                     size_t count)
{
    (void)owner;
    add_entry(&seen, stream, id, fields, count);
}

static struct long_entry last_long;
static char long_raw[LIMIT_RECORD_BYTES], long_kind[64];
static int longs_seen;

static void on_long_entry(void *owner, struct stream_entry_id id, const struct long_entry *entry)
{
    (void)owner;
    assert_int_equal(id.ms, 7);
    assert_true(entry->raw_length <= sizeof long_raw);
    last_long = *entry;
    memcpy(long_raw, entry->raw, entry->raw_length);
    snprintf(long_kind, sizeof long_kind, "%.*s", (int)entry->kind_length, entry->kind);
    longs_seen++;
}

static struct entry_reader *entries_create(void)
{
    return entry_reader_create(&(struct entry_reader_options){.on_answer = on_answer,
                                                              .on_stream = on_stream,
                                                              .on_entry = on_entry,
                                                              .on_long_entry = on_long_entry});
}

static redisReader *reader_create(struct entry_reader *entries)
{
    redisReader *reader = redisReaderCreate();

    assert_non_null(reader);
    if (entries != NULL) {
        reader->fn = entry_reader_functions(entries);
        reader->privdata = entries;
    }
    return reader;
}

static void feed(redisReader *reader, const char *bytes, size_t length)
{
    assert_int_equal(redisReaderFeed(reader, bytes, length), REDIS_OK);
}

static redisReply *next_reply(redisReader *reader)
{
    void *reply = NULL;

    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    return reply;
}

/* Feeds the answer, asking for it after each piece as the event loop does. The caller frees what it
 * becomes. */
static redisReply *feed_in_pieces(redisReader *reader, size_t piece)
{
    redisReply *reply = NULL;

    for (size_t at = 0; at < answer.length; at += piece) {
        size_t length = answer.length - at < piece ? answer.length - at : piece;

        assert_null(reply);
        feed(reader, answer.bytes + at, length);
        reply = next_reply(reader);
    }
    assert_non_null(reply);
    return reply;
}

static void begin(enum entry_place where)
{
    place = where;
    answer.length = seen.length = expected.length = 0;
}

/* A list of words as Redis' protocol writes it: "*3", ":7", "$5", "-ERR_x" and "+OK" as they are,
 * "_" for nil, "''" for nothing, all else a bulk string. */
static void answer_with(const char *words)
{
    char word[64], head[32];
    int used;

    for (const char *at = words; sscanf(at, "%63s%n", word, &used) == 1; at += used) {
        if (strchr("*:+-$", word[0]) != NULL) {
            add_text(&answer, word);
        } else if (strcmp(word, "_") == 0) {
            add_text(&answer, "$-1");
        } else {
            size_t length = strcmp(word, "''") == 0 ? 0 : strlen(word);

            snprintf(head, sizeof head, "$%zu\r\n", length);
            add_text(&answer, head);
            add_bytes(&answer, word, length);
        }
        add_text(&answer, "\r\n");
    }
}

static void assert_seen(const char *text)
{
    assert_int_equal(seen.length, strlen(text));
    assert_memory_equal(seen.bytes, text, seen.length);
    seen.length = 0;
}

/* --- answers as Redis gives them --- */

static void entries_of_a_read_come_with_their_stream_however_the_answer_is_cut(void **state)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);

    (void)state;
    begin(ENTRIES_BY_STREAM);
    answer_with("*2 *2 blotter:okx *2 *2 17-0 *2 order aaa *2 17-1 *2 trade bbb *2 blotter:binance "
                "*1 *2 18-3 *2 order ccc");
    for (size_t cut = 1; cut < answer.length; cut++) {
        feed(reader, answer.bytes, cut);
        assert_null(next_reply(reader));
        feed(reader, answer.bytes + cut, answer.length - cut);
        freeReplyObject(next_reply(reader));
        assert_seen("blotter:okx 17-0 <order> <aaa>\nblotter:okx 17-1 <trade> "
                    "<bbb>\nblotter:binance 18-3 <order> <ccc>\n");
    }
    for (size_t piece = 1; piece < 20; piece++) {
        freeReplyObject(feed_in_pieces(reader, piece));
        assert_seen("blotter:okx 17-0 <order> <aaa>\nblotter:okx 17-1 <trade> "
                    "<bbb>\nblotter:binance 18-3 <order> <ccc>\n");
    }
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

static void lists_of_entries_are_empty_in_the_tree_and_all_else_is_there(void **state)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);
    redisReply *reply;

    (void)state;
    begin(ENTRIES_BEHIND_CURSOR);
    answer_with("*3 5-1 *2 *2 3-0 *2 order a *2 4-0 *2 order b *2 1-0 2-0");
    reply = feed_in_pieces(reader, 3);
    assert_seen(" 3-0 <order> <a>\n 4-0 <order> <b>\n");
    assert_int_equal(reply->elements, 3);
    assert_string_equal(reply->element[0]->str, "5-1");
    assert_int_equal(reply->element[1]->type, REDIS_REPLY_ARRAY);
    assert_int_equal(reply->element[1]->elements, 0);
    assert_int_equal(reply->element[2]->elements, 2);
    assert_string_equal(reply->element[2]->element[1]->str, "2-0");
    freeReplyObject(reply);

    begin(ENTRIES_ALONE);
    answer_with("*1 *2 3-0 *2 order a");
    reply = feed_in_pieces(reader, 4);
    assert_seen(" 3-0 <order> <a>\n");
    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    assert_int_equal(reply->elements, 0);
    freeReplyObject(reply);
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

/* Answers to commands without entries, and those that have none this time, are what they always
 * are. */
static void answers_without_entries_are_hiredis_own(void **state)
{
    static const char *const answers[] = {"_",    "*-1", "*0",
                                          ":17",  "+OK", "-NOGROUP_no_such_group",
                                          "text", "''",  "*3 a *2 b *3 :1 _ -ERR c"};
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries), *plain = reader_create(NULL);

    (void)state;
    for (enum entry_place where = ENTRIES_NOWHERE; where <= ENTRIES_BY_STREAM; where++) {
        for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
            begin(where == ENTRIES_NOWHERE || i + 1 < sizeof answers / sizeof answers[0]
                      ? where
                      : ENTRIES_NOWHERE);
            answer_with(answers[i]);
            redisReply *ours = feed_in_pieces(reader, 2), *theirs = feed_in_pieces(plain, 2);
            assert_int_equal(ours->type, theirs->type);
            assert_int_equal(ours->integer, theirs->integer);
            assert_int_equal(ours->elements, theirs->elements);
            assert_int_equal(ours->len, theirs->len);
            assert_true(theirs->str == NULL || strcmp(ours->str, theirs->str) == 0);
            assert_true(ours->elements < 3 ||
                        ours->element[1]->element[1]->element[0]->integer == 1);
            assert_seen("");
            freeReplyObject(ours);
            freeReplyObject(theirs);
        }
    }
    redisReaderFree(reader);
    redisReaderFree(plain);
    entry_reader_destroy(entries);
}

/* --- what is not as it should be --- */

static void assert_entries(const char *words, const char *text)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);

    for (size_t piece = 1; piece < 40; piece += 3) {
        begin(ENTRIES_ALONE);
        answer_with(words);
        freeReplyObject(feed_in_pieces(reader, piece));
        assert_seen(text);
    }
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

static void deleted_entry_is_left_out(void **state)
{
    (void)state;
    assert_entries("*3 *2 1-0 *2 order a *2 2-0 _ *2 3-0 *2 order c",
                   " 1-0 <order> <a>\n 3-0 <order> <c>\n");
    assert_entries("*2 _ *2 3-0 *2 order c", " 3-0 <order> <c>\n");
}

static void entry_without_an_id_or_of_another_shape_is_left_out(void **state)
{
    static const char *const shapes[] = {"*0",
                                         "*1 1-0",
                                         ":1",
                                         "1-0",
                                         "*2 x-0 *2 a b",
                                         "*2 1 *2 a b",
                                         "*2 1- *2 a b",
                                         "*2 -ERR *2 a b",
                                         "*2 '' *2 a b",
                                         "*2 _ *2 a b",
                                         "*2 :1 *2 a b",
                                         "*2 *2 1-0 x *2 a b",
                                         "*2 1-0 text",
                                         "*2 -1-0 *2 a b",
                                         "*2 1-0 :5",
                                         "*2 *2 a b 1-0",
                                         "-ERR",
                                         "*2 1-0x *2 a b",
                                         "*2 99999999999999999999-0 *2 a b",
                                         "*2 1-18446744073709551616 *2 a b"};
    char words[256];

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        snprintf(words, sizeof words, "*3 *2 1-0 *2 order a %s *2 3-0 *2 order c", shapes[i]);
        assert_entries(words, " 1-0 <order> <a>\n 3-0 <order> <c>\n");
    }
    assert_entries("*1 *2 18446744073709551615-18446744073709551615 *2 a b",
                   " 18446744073709551615-18446744073709551615 <a> <b>\n");
}

static void values_that_are_no_text_are_empty_and_any_number_of_them_comes(void **state)
{
    (void)state;
    assert_entries("*1 *2 1-0 *0", " 1-0\n");
    assert_entries("*1 *2 1-0 *1 alone", " 1-0 <alone>\n");
    assert_entries("*1 *2 1-0 *3 '' '' c", " 1-0 <> <> <c>\n");
    assert_entries("*1 *2 1-0 *5 a '' b *2 x *1 y c", " 1-0 <a> <> <b> <> <c>\n");
    assert_entries("*1 *2 1-0 *4 a :5 _ *1 x", " 1-0 <a> <> <> <>\n");
    assert_entries("*1 *2 1-0 *3 -ERR +OK *0", " 1-0 <> <OK> <>\n");
    assert_entries("*2 *3 1-0 *2 a b *2 c d *4 2-0 *2 a b _ :1", " 1-0 <a> <b>\n 2-0 <a> <b>\n");
}

static void stream_without_a_name_has_none_of_its_neighbours(void **state)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);

    (void)state;
    begin(ENTRIES_BY_STREAM);
    answer_with("*5 *2 blotter:okx *1 *2 1-0 *2 a b *2 :7 *1 *2 2-0 *2 a b *2 *1 x *1 *2 3-0 *2 a "
                "b *1 alone *2 blotter:x text");
    freeReplyObject(feed_in_pieces(reader, 5));
    assert_seen("blotter:okx 1-0 <a> <b>\n 2-0 <a> <b>\n 3-0 <a> <b>\n");
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

/* The connection is cut: the entries that came whole have been handed over, and the next connection
 * begins anew. */
static void half_an_answer_leaves_nothing_behind(void **state)
{
    struct entry_reader *entries = entries_create();

    (void)state;
    for (size_t cut = 0; cut < 90; cut++) {
        redisReader *reader = reader_create(entries);

        begin(ENTRIES_BY_STREAM);
        answer_with("*1 *2 blotter:okx *2 *2 17-0 *2 order aaa *2 17-1 *4 trade bbb order ccc");
        assert_true(cut < answer.length);
        feed(reader, answer.bytes, cut);
        assert_null(next_reply(reader));
        redisReaderFree(reader);
        entry_reader_reset(entries);

        reader = reader_create(entries);
        begin(ENTRIES_ALONE);
        answer_with("*1 *2 3-0 *2 order a");
        freeReplyObject(feed_in_pieces(reader, 7));
        assert_seen(" 3-0 <order> <a>\n");
        redisReaderFree(reader);
    }
    entry_reader_destroy(entries);
}

/* hiredis' buffer moves and is written over while the values of one entry come. */
static void values_longer_than_a_piece_stay_as_they_came(void **state)
{
    static const size_t pieces[] = {1, 100, 700, 1500, 16384};
    struct entry_reader *entries = entries_create();
    char value[3000];

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        redisReader *reader = reader_create(entries);
        struct raw_field fields[6];

        begin(ENTRIES_ALONE);
        answer_with("*1 *2 1-0 *6");
        for (size_t n = 0; n < 6; n++) {
            memset(value, 'a' + (int)n, sizeof value);
            answer_with("$3000");
            fields[n] = (struct raw_field){answer.bytes + answer.length, sizeof value};
            add_bytes(&answer, value, sizeof value);
            add_text(&answer, "\r\n");
        }
        add_entry(&expected, "", (struct stream_entry_id){1, 0}, fields, 6);
        freeReplyObject(feed_in_pieces(reader, pieces[i]));
        assert_int_equal(seen.length, expected.length);
        assert_memory_equal(seen.bytes, expected.bytes, seen.length);
        redisReaderFree(reader);
    }
    entry_reader_destroy(entries);
}

/* hiredis' own functions have begun an answer when the link puts ours into the reader; and the
 * answer before it, on a connection that is gone, never ended. */
static void answer_that_was_begun_before_stays_a_tree(void **state)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(NULL), *lost = reader_create(entries);
    redisReply *reply;

    (void)state;
    begin(ENTRIES_BEHIND_CURSOR);
    answer_with("*3 0-0 *2 *2 1-0 *2 a b");
    feed(lost, answer.bytes, answer.length);
    assert_null(next_reply(lost));
    redisReaderFree(lost);
    entry_reader_reset(entries);

    begin(ENTRIES_BEHIND_CURSOR);
    answer_with("*2 cursor *1 *2 1-0 *2 a b");
    reader->privdata = entries;
    feed(reader, answer.bytes, 4);
    assert_null(next_reply(reader));
    reader->fn = entry_reader_functions(entries);
    seen.length = 0;
    feed(reader, answer.bytes + 4, answer.length - 4);
    reply = next_reply(reader);
    assert_string_equal(reply->element[1]->element[0]->element[1]->element[1]->str, "b");
    assert_seen("");
    freeReplyObject(reply);
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

/* --- too long, too large --- */

static char long_value[300000];

static void assert_long(const char *kind, uint64_t length, const void *raw, size_t raw_length)
{
    unsigned char digest[SHA256_BYTES];
    struct sha256 hash;

    sha256_begin(&hash);
    sha256_add(&hash, raw, raw_length);
    sha256_end(&hash, digest);
    assert_int_equal(longs_seen, 1);
    assert_string_equal(long_kind, kind);
    assert_true(last_long.length == length && length == raw_length);
    assert_int_equal(last_long.raw_length, LIMIT_RECORD_BYTES);
    assert_memory_equal(long_raw, raw, LIMIT_RECORD_BYTES);
    assert_memory_equal(last_long.sha256, digest, SHA256_BYTES);
    longs_seen = 0;
}

/* A value that the link hands on in pieces, before hiredis gets its beginning. */
static void one_long_value_is_cut_and_its_whole_is_hashed(void **state)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);
    char head[64];

    (void)state;
    memset(long_value, 'x', sizeof long_value);
    begin(ENTRIES_ALONE);
    answer_with("*2 *2 7-1 *2 order");
    feed(reader, answer.bytes, answer.length);
    assert_null(next_reply(reader));
    for (size_t at = 0; at < sizeof long_value; at += 1000) {
        entry_reader_on_piece(entries, sizeof long_value, long_value + at, 1000);
    }
    snprintf(head, sizeof head, "$%d\r\n", LIMIT_RECORD_BYTES + 1);
    feed(reader, head, strlen(head));
    feed(reader, long_value, LIMIT_RECORD_BYTES + 1);
    feed(reader, "\r\n", 2);
    assert_null(next_reply(reader));
    assert_long("order", sizeof long_value, long_value, sizeof long_value);
    answer.length = 0;
    answer_with("*2 8-0 *2 trade bbb"); /* its neighbour is as ever */
    feed(reader, answer.bytes, answer.length);
    freeReplyObject(next_reply(reader));
    assert_seen(" 8-0 <trade> <bbb>\n");
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

/* Each is short enough, all together are not. */
static void many_fields_are_cut_as_one_long_value_is(void **state)
{
    static struct text raw;
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);
    char part[128];

    (void)state;
    begin(ENTRIES_ALONE);
    raw.length = 0;
    answer_with("*1 *2 7-1 *4000");
    for (int i = 0; i < 4000; i++) {
        snprintf(part, sizeof part, "$%d\r\n%.*s%d\r\n", 40 + (i > 9) + (i > 99) + (i > 999), 39,
                 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", i);
        add_text(&raw, part);
    }
    add_bytes(&answer, raw.bytes, raw.length);
    freeReplyObject(feed_in_pieces(reader, 1000));
    assert_seen("");
    assert_long("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm0", raw.length, raw.bytes, raw.length);
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

static void empty_values_before_the_last_have_an_address(void **state)
{
    (void)state;
    assert_entries("*1 *2 3-0 *2 '' x", " 3-0 <> <x>\n");
    assert_entries("*1 *2 3-0 *4 '' '' '' ''", " 3-0 <> <> <> <>\n");
}

static void assert_refused(enum entry_place where, const char *words)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries);
    void *reply = NULL;

    begin(where);
    answer_with(words);
    feed(reader, answer.bytes, answer.length);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_ERR);
    assert_null(reply);
    redisReaderFree(reader);
    entry_reader_destroy(entries);
}

static void answers_that_are_too_large_or_not_awaited_end_the_connection(void **state)
{
    (void)state;
    assert_refused(ENTRIES_NOWHERE, "*2147483647");
    assert_refused(ENTRIES_NOWHERE, "*2 *40000 *40000");
    assert_refused(ENTRIES_BEHIND_CURSOR, "*3 0-0 *0 *70000");
    assert_refused(ENTRIES_REFUSED, "+LATE");
    assert_refused(ENTRIES_REFUSED, ":1");
    assert_refused(ENTRIES_REFUSED, "_");
    assert_refused(ENTRIES_REFUSED, "*0");
}

/* --- any answer at all --- */

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

/* Entries as the tree has them: what the reader must find too. */
static void expect_entries(const char *name, const redisReply *list)
{
    for (size_t i = 0; list->type == REDIS_REPLY_ARRAY && i < list->elements; i++) {
        const redisReply *entry = list->element[i], *values;
        struct raw_field fields[16];
        struct stream_entry_id id;

        if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 2 ||
            !reply_parse_id(entry->element[0], &id)) {
            continue;
        }
        values = entry->element[1];
        for (size_t n = 0; values->type == REDIS_REPLY_ARRAY && n < values->elements; n++) {
            const redisReply *value = values->element[n];

            fields[n] = is_text(value) ? (struct raw_field){value->str, value->len}
                                       : (struct raw_field){"", 0};
        }
        if (values->type == REDIS_REPLY_ARRAY) {
            add_entry(&expected, name, id, fields, values->elements);
        }
    }
}

static void expect_entries_of(const redisReply *tree)
{
    if (tree->type != REDIS_REPLY_ARRAY || place == ENTRIES_NOWHERE) {
        return;
    }
    if (place == ENTRIES_ALONE) {
        expect_entries("", tree);
    } else if (place == ENTRIES_BEHIND_CURSOR && tree->elements > 1) {
        expect_entries("", tree->element[1]);
    }
    for (size_t i = 0; place == ENTRIES_BY_STREAM && i < tree->elements; i++) {
        const redisReply *pair = tree->element[i];

        if (pair->type == REDIS_REPLY_ARRAY && pair->elements > 1) {
            expect_entries(is_text(pair->element[0]) ? pair->element[0]->str : "",
                           pair->element[1]);
        }
    }
}

/* A value of the answer: what belongs there mostly, anything at times. hiredis 0.14 takes seven
 * arrays within each other. */
static void answer_at_random(unsigned depth)
{
    static const char *const others[] = {":7", "+1-0",  "-ERR", "_", "*-1",
                                         "''", "12-34", "text", "*0"};
    unsigned arrays = place == ENTRIES_BY_STREAM ? 5 : place == ENTRIES_BEHIND_CURSOR ? 4 : 3;
    char head[16];

    if (random_below(12) == 0 || (depth >= arrays && random_below(6) > 0) || depth > 6) {
        answer_with(depth >= arrays && random_below(4) > 0
                        ? "1-5"
                        : others[random_below(sizeof others / sizeof others[0])]);
        return;
    }
    if (depth + 2 > 3 && random_below(3) == 0) {
        answer_with("88-1");
        return;
    }
    unsigned count = random_below(10) == 0 ? random_below(8) : 2;
    snprintf(head, sizeof head, "*%u", count);
    answer_with(head);
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 && random_below(2) == 0) {
            answer_with("5-6");
        } else {
            answer_at_random(depth + 1);
        }
    }
}

static void any_answer_has_the_entries_that_its_tree_has(void **state)
{
    struct entry_reader *entries = entries_create();
    redisReader *reader = reader_create(entries), *plain = reader_create(NULL);
    size_t found = 0;

    (void)state;
    random_begin();
    for (int i = 0; i < 60000; i++) {
        begin((enum entry_place)random_below(4));
        answer_at_random(0);
        redisReply *tree = feed_in_pieces(plain, answer.length);
        expect_entries_of(tree);
        freeReplyObject(feed_in_pieces(reader, 1 + random_below(40)));
        assert_int_equal(seen.length, expected.length);
        assert_memory_equal(seen.bytes, expected.bytes, seen.length);
        found += expected.length > 0;
        freeReplyObject(tree);
    }
    assert_true(found > 5000);
    redisReaderFree(reader);
    redisReaderFree(plain);
    entry_reader_destroy(entries);
}

/* Bytes that are no answer end the reader, not the process; and what was handed over before was
 * whole. */
static void no_bytes_make_it_fail(void **state)
{
    struct entry_reader *entries = entries_create();

    (void)state;
    random_begin();
    for (int i = 0; i < 40000; i++) {
        redisReader *reader = reader_create(entries);
        void *reply = NULL;

        begin((enum entry_place)random_below(4));
        answer_at_random(0);
        for (unsigned n = random_below(4); n > 0; n--) {
            answer.bytes[random_below((unsigned)answer.length)] =
                "*$:+-_0123456789\r\n"[random_below(18)];
        }
        for (size_t at = 0, piece; at < answer.length; at += piece) {
            piece = 1 + random_below(30);
            piece = answer.length - at < piece ? answer.length - at : piece;
            if (redisReaderFeed(reader, answer.bytes + at, piece) != REDIS_OK ||
                redisReaderGetReply(reader, &reply) != REDIS_OK) {
                break;
            }
            freeReplyObject(reply);
            reply = NULL;
        }
        redisReaderFree(reader);
        entry_reader_reset(entries);
    }
    entry_reader_destroy(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_of_a_read_come_with_their_stream_however_the_answer_is_cut),
        cmocka_unit_test(lists_of_entries_are_empty_in_the_tree_and_all_else_is_there),
        cmocka_unit_test(answers_without_entries_are_hiredis_own),
        cmocka_unit_test(deleted_entry_is_left_out),
        cmocka_unit_test(entry_without_an_id_or_of_another_shape_is_left_out),
        cmocka_unit_test(values_that_are_no_text_are_empty_and_any_number_of_them_comes),
        cmocka_unit_test(stream_without_a_name_has_none_of_its_neighbours),
        cmocka_unit_test(half_an_answer_leaves_nothing_behind),
        cmocka_unit_test(values_longer_than_a_piece_stay_as_they_came),
        cmocka_unit_test(answer_that_was_begun_before_stays_a_tree),
        cmocka_unit_test(any_answer_has_the_entries_that_its_tree_has),
        cmocka_unit_test(no_bytes_make_it_fail),
        cmocka_unit_test(one_long_value_is_cut_and_its_whole_is_hashed),
        cmocka_unit_test(many_fields_are_cut_as_one_long_value_is),
        cmocka_unit_test(empty_values_before_the_last_have_an_address),
        cmocka_unit_test(answers_that_are_too_large_or_not_awaited_end_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
