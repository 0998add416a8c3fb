/* command_list.h: the names of the program's commands, in one list. The table of settings names
 * them, and --help and the shells' completion are made from it. What runs them is in commands.h. */
#ifndef BLOTTER_DRAINER_COMMAND_LIST_H
#define BLOTTER_DRAINER_COMMAND_LIST_H

/* X(ID, name, its arguments, fewest, most, what it does) */
/* clang-format off */
#define COMMANDS(X) \
    X(MIGRATE, migrate, "", 0, 0, \
      "bring the database's schema `blotter` up to this program's version") \
    X(DRAIN, drain, "", 0, 0, "load the streams into PostgreSQL until told to stop") \
    X(PUBLISH, publish, "", 0, 0, "record the orders and trades that come as JSON lines on stdin") \
    X(SHIP, ship, "", 0, 0, \
      "send what is in journals whose process does not send itself, or has died") \
    X(STATUS, status, "", 0, 0, "show how far the streams are read and the tables filled") \
    X(AUDIT, audit, "", 0, 0, "show whether any accepted record is missing from PostgreSQL") \
    X(REJECTS, rejects, "list|show|replay|discard [ID ...]", 1, 1000, \
      "list the records that could not be stored, show one, load them again, or set them aside") \
    X(PARTITIONS, partitions, "list|drop|roll", 1, 1, \
      "list the days that are kept, drop old ones, or roll old fills") \
    X(JOURNAL, journal, "PATH", 1, 1, "show what a journal holds, without changing it") \
    X(CHECK, check, "", 0, 0, \
      "look for versions, rights and server settings that would lose records") \
    X(WEB, web, "", 0, 0, "serve a page that shows everything, read-only, on loopback") \
    X(MIRROR, mirror, "[list|replay|discard [ID ...]]", 0, 1000, \
      "store the records in QuestDB, too, until told to stop; or look after those that it " \
      "refused") \
    X(FOLLOW, follow, "", 0, 0, "print committed records as JSON lines, as they are committed") \
    X(EXPORT, export, "TABLE", 1, 1, "print a table or view of schema blotter as CSV") \
    X(COMPLETION, completion, "bash|zsh", 1, 1, "print the completion for a shell") \
    X(HELP, help, "[COMMAND]", 0, 1, "explain a command and its settings") \
    X(VERSION, version, "", 0, 0, "print the version")
/* clang-format on */

/* clang-format off */
enum command_id {
#define X(id, name, arguments, fewest, most, text) COMMAND_##id,
    COMMANDS(X)
#undef X
        COMMAND_COUNT
};
/* clang-format on */

struct command {
    const char *name;
    const char *arguments;
    int fewest_arguments, most_arguments;
    const char *text;
};
extern const struct command commands[COMMAND_COUNT];

/* Returns the command of that name, or -1. */
int command_of(const char *name);

#endif
