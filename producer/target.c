/* target.c: see target.h. */
#include "producer/target.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "producer/redis_link.h"

static void known_target(const struct target *target, struct journal_target *known)
{
    if (!journal_target_get(&target->journal->header->target, known)) {
        memset(known, 0, sizeof *known);
    }
}

void target_init(struct target *target, const char *stream)
{
    struct journal_target known;
    known_target(target, &known);
    stream_id_name(target->key, stream);
    if (known.url[0] == '\0') {
        journal_target_set(&target->journal->header->target, redis_link_place(target->link), "");
    }
}

void target_on_up(struct target *target)
{
    target->asking = false;
    target->left_alone[0] = '\0';
}

static void answer(struct target *target, const char *id)
{
    struct journal_target known;
    const char *url = redis_link_place(target->link);
    known_target(target, &known);
    bool same_url = known.url[0] == '\0' || strcmp(known.url, url) == 0;
    bool same_id =
        id[0] != '\0' && (known.stream_id[0] == '\0' || strcmp(known.stream_id, id) == 0);
    bool ours = same_url || same_id || target->retarget;
    if (ours) {
        journal_target_set(&target->journal->header->target, url,
                           id[0] != '\0' ? id : known.stream_id);
    } else {
        snprintf(target->left_alone, sizeof target->left_alone,
                 "its records are for %.160s (stream id %s), and %.160s has %s%s: `blotter ship "
                 "--retarget` sends them there",
                 known.url, known.stream_id[0] != '\0' ? known.stream_id : "not known", url,
                 id[0] != '\0' ? "stream id " : "none that can be read", id);
    }
    target->on_known(target->owner, ours);
}

static void ask_id(struct target *target);

static void on_id_set(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct target *target = owner;
    if (reply == NULL) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        answer(target, ""); /* no right to write, or no room for it */
        return;
    }
    ask_id(target); /* which may be another's that was quicker */
}

/* Puts the journal's own id back where it is missing. */
static void set_id(struct target *target)
{
    struct journal_target known;
    known_target(target, &known);
    if (known.stream_id[0] != '\0') {
        snprintf(target->made_id, sizeof target->made_id, "%.*s", STREAM_ID_DIGITS,
                 known.stream_id);
    } else {
        stream_id_draw(target->made_id);
    }
    const char *argv[] = {"SET", target->key, target->made_id, "NX"};
    target->asking = redis_link_sendv_as(target->link, target, on_id_set, 0, 4, argv) == 0;
}

static void target_on_id(void *owner, uintptr_t tag, struct redisReply *reply)
{
    (void)tag;
    struct target *target = owner;
    target->asking = false;
    if (reply == NULL) {
        return;
    }
    bool forbidden = refusals_is_forbidden(reply); /* which harms nothing but this question */
    bool refused = !forbidden && refusals_note(target->refusals, ASK_STREAM_ID, reply);
    if (reply->type == REDIS_REPLY_NIL && redis_link_is_asking(target->link)) {
        answer(target, ""); /* it may be on the node that the slot comes from */
    } else if (reply->type == REDIS_REPLY_NIL) {
        set_id(target);
    } else if (reply->type == REDIS_REPLY_STRING && stream_id_valid(reply->str, reply->len)) {
        answer(target, reply->str);
    } else if (!refused) {
        answer(target, ""); /* it cannot be known */
    }
}

static void ask_id(struct target *target)
{
    const char *argv[] = {"GET", target->key};
    target->asking = redis_link_sendv_as(target->link, target, target_on_id, 0, 2, argv) == 0;
}

void target_ask(struct target *target)
{
    if (!target->asking) {
        ask_id(target);
    }
}
