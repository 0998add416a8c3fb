/* reading.h: the commands that bring entries: claims what is pending, loads the kept tail again
 * where that is asked for, reads what is new; and puts the entries into the batch that gathers.
 *
 * One read at a time; where each stream is read on its own, one round of them. Beside it, one round
 * of pages, of streams that are claimed or loaded again: of thousands that a drainer takes over
 * each would else wait for those before it, and what is read already for all. Entries go into the
 * batch while the answer still arrives; an answer to a command that was sent before everything was
 * forgotten (an older generation) brings none. One thread. */
#ifndef BLOTTER_DRAINER_REDIS_READING_H
#define BLOTTER_DRAINER_REDIS_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drainer/batch.h"
#include "drainer/redis/streams.h"

struct entry_reader;
struct intake;
struct node;
struct redis_link;
struct settings;

/* An entry and how often it was delivered, from the XPENDING before a claim. */
struct delivery {
    struct stream_entry_id id;
    uint16_t count;
};

enum { READING_CLAIM_ENTRIES = 500, READING_PAGES = 64 };

struct reading {
    struct intake *intake; /* told of errors and turns */
    const struct settings *settings;
    const char *consumer;
    struct node *node; /* whose streams it reads */
    struct redis_link *link;
    struct streams *streams;
    struct batch **gathering; /* the batch that gathers at the time */
    struct entry_reader *entry_reader;
    const struct stream_entry_id *from; /* --from; NULL: not given */

    bool at_end;  /* the last read found nothing: nothing to read until the doorbell rings */
    size_t reads; /* read commands that are not answered */
    struct stream *pages[READING_PAGES]; /* this round's claims and reloads, in their order */
    size_t page_count, pages_answered;
    size_t next_page;   /* the stream at which the next round begins */
    bool newly_read;    /* the doorbell may not wait for some stream yet */
    int64_t read_at_ms; /* when Redis last said that there is nothing new in any stream */
    bool in_cluster;
    bool each_alone; /* the streams lie in several slots of a cluster */
    bool all;        /* the next round reads all streams, not only those that were rung */
    bool partial;    /* this round reads only some: that it finds nothing says nothing of others */
    int64_t asked_at_ms;   /* this round's reads */
    int64_t took_ms;       /* the last round, until all its reads were answered */
    size_t most;           /* entries of a stream that this round's answers may bring */
    size_t brought;        /* the entries that they have brought */
    struct stream **alone; /* of this round, in the order of their commands */
    size_t alone_count, alone_answered, alone_capacity;
    uint64_t generation; /* of what is in memory */

    /* the answer that is being read */
    int answer; /* enum reading_answer */
    bool answer_counts;
    struct stream
        *answer_stream; /* of a read: whose entries follow; NULL: of a stream not asked for */
    int64_t answer_wall_ns;
    size_t reloaded_of_page;
    bool reloaded_last; /* it had the greatest id that there is: no page is behind it */

    struct delivery deliveries[READING_CLAIM_ENTRIES];
    size_t delivery_count;
    size_t entry_bytes; /* running mean, to bound the size of an answer */
};

/* Begins. link, entry_reader: set by the owner once they exist. */
void reading_init(struct reading *, struct intake *, const struct settings *, const char *consumer);

/* Takes an answer, for the link's reader: where it has its entries as it begins, whose they are,
 * and each. */
enum entry_place reading_on_answer(void *reading);
void reading_on_stream(void *reading, const char *name, size_t length);
void reading_on_entry(void *reading, struct stream_entry_id, const struct raw_field *,
                      size_t field_count);
void reading_on_long_entry(void *reading, struct stream_entry_id, const struct long_entry *);

/* Sends the next claims and reloads, and the next read, unless they are under way or the batch is
 * full. False: there is nothing to read at the moment. */
bool reading_continue(struct reading *);

bool reading_awaits(const struct reading *); /* a read, claim or reload is not answered */

/* Frees what it holds. */
void reading_release(struct reading *);

/* Notes that the stream may have something new; NULL: any of them. */
void reading_wake(struct reading *, struct stream *);

/* Reads the streams that the doorbell does not wait for yet, which waits for others. */
void reading_wake_unwaited(struct reading *);

/* Has answers to commands already sent bring no entries from now on. */
void reading_forget(struct reading *);
/* Forgets every command of a connection that is gone. */
void reading_on_link_down(struct reading *);

/* Says whether every stream held is read to its end. */
bool reading_drained(const struct reading *);

#endif
