/* self_spawn.h: runs this program again, as another command and in a process of its own, with the
 * settings that we have ourselves. */
#ifndef BLOTTER_DRAINER_SELF_SPAWN_H
#define BLOTTER_DRAINER_SELF_SPAWN_H

#include <sys/types.h>

#include "drainer/settings_table.h"

/* Starts `blotter ARGV[1] ...`. The settings that the command takes go to it by the environment,
 * where other users cannot read them. out, err: what becomes its stdout and stderr, or -1 for ours.
 * The kernel ends it with SIGTERM when we die. Returns its pid; -1: errno says why. */
pid_t self_spawn(const struct settings *, enum command_id, char *const argv[], int out, int err);

#endif
