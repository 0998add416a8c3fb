/* scripts.h: what Redis has to decide by itself, in one step: scripts for EVAL. Their sources are
 * the .lua files beside this one, which say what they take and return. */
#ifndef BLOTTER_DRAINER_REDIS_SCRIPTS_H
#define BLOTTER_DRAINER_REDIS_SCRIPTS_H

extern const char script_claim_stream[];
extern const char script_gauge[];
extern const char script_mirror_lease[];
extern const char script_remove_consumers[];
extern const char script_settle[];
extern const char script_stream_id[];
extern const char script_trim[];

#endif
