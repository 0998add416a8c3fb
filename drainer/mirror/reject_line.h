/* reject_line.h: a record that could not be stored, as a line for QuestDB's table `rejects`. Its
 * bytes are kept in base64, all of them where they are no more than a record may have. */
#ifndef BLOTTER_DRAINER_MIRROR_REJECT_LINE_H
#define BLOTTER_DRAINER_MIRROR_REJECT_LINE_H

#include "drainer/batch.h"
#include "drainer/copy.h"

void reject_line_put(struct copy_buffer *, const struct batch *, const struct entry *);

#endif
