/* intake_scripts.h: what has to be decided by Redis itself, in one step: scripts for EVAL. */
#ifndef BLOTTER_DRAINER_REDIS_INTAKE_SCRIPTS_H
#define BLOTTER_DRAINER_REDIS_INTAKE_SCRIPTS_H

/* KEYS[1] stream; ARGV: our group, how many entries to keep, how many may wait for a foreign group.
 * Removes entries that every group has acknowledged, the oldest first; a foreign group that holds
 * back more than its limit is not respected. Returns how many, and that group's name if it was
 * overruled. Looks only at the server's own state: an id computed outside would delete unread
 * entries of a promoted replica. */
extern const char intake_script_trim[];

/* KEYS[1] stream; ARGV: our group. Returns how many entries it has not read (-1: not known, some),
 * how many are pending, and the oldest entry id of both ("": none). */
extern const char intake_script_gauge[];

/* KEYS[1] stream; ARGV: group, a consumer's name, milliseconds. Removes that consumer, and those
 * unused for so long, where they have nothing pending: removing one that has would lose its
 * entries. Returns how many are pending under the name. */
extern const char intake_script_remove_consumers[];

#endif
