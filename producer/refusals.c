/* refusals.c: see refusals.h. */
#include "producer/refusals.h"

#include <hiredis/hiredis.h>
#include <stddef.h>
#include <string.h>

#include "producer/redis_error.h"

static bool refusals_is_refusal(enum refusal_question question, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return false;
    }
    if (strncmp(reply->str, "ASK ", 4) == 0 &&
        (question == ASK_CONFIRMATIONS || question == ASK_STREAM_ID)) {
        return false; /* a key beside the stream that is not here, while its slot is moved */
    }
    enum redis_error_action action = redis_error_action(reply->str);
    return question == ASK_CONFIRMATIONS ||
           (action != REDIS_ERROR_OTHER && action != REDIS_ERROR_GROUP);
}

bool refusals_note(struct refusals *refusals, enum refusal_question question,
                   const redisReply *reply)
{
    unsigned before = refusals->questions;
    bool refused = refusals_is_refusal(question, reply);
    if (refused) {
        refusals->questions |= question;
    } else {
        refusals->questions &= ~(unsigned)question;
    }
    if ((before == 0) != (refusals->questions == 0)) {
        refusals->on_refused(refusals->owner, refused ? reply->str : NULL);
    }
    return refused;
}

bool refusals_is_forbidden(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && redis_error_action(reply->str) == REDIS_ERROR_RIGHTS;
}

void refusals_forget(struct refusals *refusals)
{
    refusals->questions = 0;
}
