/* mirror.h: reads the streams beside the drainers and stores their records in QuestDB. */
#ifndef BLOTTER_DRAINER_MIRROR_MIRROR_H
#define BLOTTER_DRAINER_MIRROR_MIRROR_H

#include <stdbool.h>

#include "drainer/mirror/questdb_conf.h"

struct settings;

/* Runs until it is told to stop, or with `once` until all that is there is stored. Returns the exit
 * code. */
int mirror_run(const struct settings *);

/* Reads the settings that say where QuestDB is. False: they are wrong, which has been printed. */
bool mirror_read_conf(const struct settings *, struct questdb_conf *);

#endif
