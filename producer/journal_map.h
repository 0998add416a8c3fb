/* journal_map.h: a journal's file in memory. */
#ifndef BLOTTER_PRODUCER_JOURNAL_MAP_H
#define BLOTTER_PRODUCER_JOURNAL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

/* Gives the file its length and reserves its blocks, so that no later store meets a full disk
 * (SIGBUS). 0, or SYSTEM with a text. fresh: nothing was recorded in it yet. */
int journal_reserve(int fd, const char *path, bool fresh, uint64_t size, uint64_t bytes,
                    char *error);

/* Maps the file that lock_fd has open. 0, or SYSTEM with a text. */
int journal_map(struct journal *, const char *path, size_t bytes, char *error);

/* Unmaps it, and ends the handle. */
void journal_unmap(struct journal *);

/* Makes every page writable now, so that no submit has to wait for a fault. */
void journal_touch_pages(struct journal *);

#endif
