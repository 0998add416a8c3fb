/* settings_help.c: see settings_help.h. */
#include "drainer/settings_help.h"

#include <ctype.h>
#include <string.h>

#include "drainer/settings_table.h"

enum {
    FLAG_COLUMN = 30,
    TEXT_WIDTH = 100,
};

static bool is_secret(const struct setting *setting)
{
    return setting->type == SETTING_SECRET;
}

/* --- --help --- */

static const char *settings_help_value_of(const struct setting *setting)
{
    switch (setting->type) {
    case SETTING_CHOICE:
        return setting->choices;
    case SETTING_BOOL:
        return NULL;
    case SETTING_DURATION:
        return "TIME";
    case SETTING_SIZE:
        return "SIZE";
    case SETTING_COUNT:
        return "N";
    default:
        return setting->value;
    }
}

/* Prints words, wrapped, in the column behind the flags. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = FLAG_COLUMN;

    while (*text != '\0') {
        size_t length = strcspn(text, " ");

        if (column > FLAG_COLUMN && column + 1 + length > TEXT_WIDTH) {
            fprintf(out, "\n%*s", FLAG_COLUMN, "");
            column = FLAG_COLUMN;
        }
        fprintf(out, "%s%.*s", column > FLAG_COLUMN ? " " : "", (int)length, text);
        column += length + (column > FLAG_COLUMN);
        text += length + (text[length] == ' ');
    }
    fputc('\n', out);
}

static void print_setting(FILE *out, const struct setting *setting)
{
    bool off = setting->type == SETTING_BOOL && strcmp(setting->default_text, "no") == 0;
    const char *value = settings_help_value_of(setting);
    char name[SETTING_NAME_BYTES], text[512];
    int width;

    if (is_secret(setting)) {
        setting_variable_name(name, setting->name);
        width = fprintf(out, "  %s=", name);
    } else {
        setting_flag_name(name, setting->name);
        width = fprintf(out, "  %s%s%s", setting->type == SETTING_BOOL && !off ? "--[no-]" : "--",
                        name, value == NULL ? "" : " ");
    }
    width += fprintf(out, "%s", value == NULL ? "" : value);
    if (width + 1 > FLAG_COLUMN) {
        fprintf(out, "\n");
        width = 0;
    }
    fprintf(out, "%*s", FLAG_COLUMN - width, "");
    if (setting->default_text == NULL || setting->default_text[0] == '\0' || off ||
        is_secret(setting)) {
        snprintf(text, sizeof text, "%s", setting->meaning);
    } else {
        snprintf(text, sizeof text, "%s [%s]", setting->meaning, setting->default_text);
    }
    print_wrapped(out, text);
}

/* Details that the one line of a command leaves out. Lines of at most 88 characters, as they are
 * printed. */
// clang-format off
static const char *const details[COMMAND_COUNT] = {
    [COMMAND_PUBLISH] =
        "A line is a JSON object, {\"symbol\": \"BTC/USDT\", \"price\": 64250.10}.\n"
        "\"kind\" says what it is: order (the default), trade, cash, balance, position or\n"
        "instrument. The other keys are the columns of that kind's table, or ccxt's names for\n"
        "them; any further key goes into extra. Prices and quantities may be numbers or strings;\n"
        "every digit is kept. Times are integers of nanoseconds since 1970, under ccxt's names\n"
        "milliseconds. null, \"\", [], {} and the time 0 mean absent; where a line has names of\n"
        "columns that ccxt calls otherwise, \"\" is kept as text and null in extra. info is\n"
        "dropped. exchange, if given, must be that of --exchange. producer_id, seq and\n"
        "recorded_at are set here; given ones go into extra.\n"
        "\n"
        "ccxt's objects are recorded as the Python package records them, in JavaScript by\n"
        "JSON.stringify({kind: \"cash\", ...entry}). The trades in an order become trades of\n"
        "their own, which take its ids, symbol, side and so on. A balance is a record for each\n"
        "currency; {\"free\": {}, \"used\": {}, \"total\": {}} is an empty account. Of a market's\n"
        "precision steps are taken if the line has precision_mode: 4, ccxt's TICK_SIZE. info\n"
        "is read for the type of a ledger entry and the sign of a funding payment: leave it\n"
        "in. A line may also be a list of objects: its positions, as of fetchPositions(), are\n"
        "then one snapshot. Of a line all is recorded, or nothing.\n"
        "\n"
        "A line that cannot be recorded is reported on stderr as `line N: field: problem` and\n"
        "skipped. At the end a line of JSON goes to stdout: accepted, sent, committed, rejected,\n"
        "seconds. Exit status 1 if any line was skipped.\n",
    [COMMAND_SHIP] =
        "Sends from every journal of the folder (it looks twice a second), or from the one that\n"
        "is named, unless the process that writes it sends itself. For a writer that has died it\n"
        "also writes the last records (void, closed), and removes the journal when PostgreSQL has\n"
        "all of it. A journal that is damaged, of an unknown format, or not ours is left alone\n"
        "and named once. So is one whose records are for another Redis (another URL and another\n"
        "stream id), until ship runs with --retarget.\n"
        "\n"
        "With --once it ends when the records that were there at its start are sent, or\n"
        "committed. At the end a line of JSON goes to stdout: journals, sent, committed, left\n"
        "(records, session records included), seconds. Exit status 1 if records are left, or a\n"
        "journal could not be read, or is left alone.\n",
    [COMMAND_STATUS] =
        "waiting:  entries that no drainer has read.\n"
        "pending:  entries that a drainer has read and not yet acknowledged.\n"
        "behind:   how long the oldest of them has waited.\n"
        "A line `stuck:` names each stream whose records wait and do not move, since when, and\n"
        "why; exit status 1. --max-behind sets how long a record may wait (5s if it is 0).\n",
    [COMMAND_AUDIT] =
        "complete: the producer has ended, and every record of it is stored, rejected or expired.\n"
        "open:     nothing is missing so far; the producer may go on, or records are under way.\n"
        "missing:  records should be here and are not.\n"
        "doubled:  there are more rows than records.\n"
        "forged:   the same producer id came in several streams.\n"
        "Exit status 1 for the last three, and while an incident is open.\n",
    [COMMAND_CHECK] =
        "bad:      records would be lost or not stored, or they wait and do not move. Exit 1.\n"
        "warning:  records are safe only as long as journals hold them, or somebody could read or\n"
        "          forge them, or it could not be looked at.\n",
    [COMMAND_FOLLOW] =
        "Each record, reject and void is printed once, in the order of the transactions that\n"
        "stored them; numbers but seq are strings, since many readers of JSON would round them.\n"
        "After the records that belong together comes a line {\"token\": \"...\"}. To go on after\n"
        "an interruption, drop what came behind the last token line and begin with --after TOKEN;\n"
        "--output FILE does both by itself. A transaction that holds everything back for 5\n"
        "seconds is named in the log. Records that expired or are missing are not here: see\n"
        "`blotter audit`.\n",
    [COMMAND_EXPORT] =
        "TABLE is a table or view of schema blotter: order_events, trades, fills, positions, cash\n"
        "... Times are UTC and decimals keep every digit. --since and --before select by\n"
        "recorded_at, or at.\n",
    [COMMAND_COMPLETION] =
        "bash: blotter completion bash > /etc/bash_completion.d/blotter\n"
        "zsh:  blotter completion zsh > /usr/local/share/zsh/site-functions/_blotter\n",
    [COMMAND_JOURNAL] = "Exit status 1 if a part of it is damaged.\n",
};
// clang-format on

void settings_print_help(FILE *out, enum command_id command)
{
    const struct command *about = &commands[command];

    fprintf(out, "Usage: blotter %s%s%s [--flag ...]\n\n%c%s.\n\n", about->name,
            about->arguments[0] == '\0' ? "" : " ", about->arguments,
            toupper((unsigned char)about->text[0]), about->text + 1);
    if (details[command] != NULL) {
        fprintf(out, "%s\n", details[command]);
    }
    for (size_t i = 0; i < setting_count; i++) {
        if ((setting_table[i].commands & (1u << command)) != 0) {
            print_setting(out, &setting_table[i]);
        }
    }
    fprintf(out, "\nDefaults are in brackets. Every flag can also be given in the environment, as "
                 "BLOTTER_ and\n"
                 "its name, or in the file of --config. A flag goes before the environment, which "
                 "goes before\n"
                 "the file.\n");
}

void settings_print_commands(FILE *out)
{
    fprintf(out, "Blotter records every order and trade of a trading system in "
                 "PostgreSQL.\n\nUsage: blotter COMMAND [--flag ...]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-12s%s\n", commands[i].name, commands[i].text);
    }
    fprintf(out, "\n`blotter COMMAND --help` explains a command.\n"
                 "Exit status: 0 done; 1 the answer is no; 2 usage or configuration; 3 a server "
                 "could not be reached.\n");
}

/* --- the sample file --- */

static void print_users(FILE *out, unsigned users)
{
    const char *before = "";

    if (users == (1u << COMMAND_COUNT) - 1) {
        fprintf(out, "every command");
        return;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if ((users & (1u << i)) != 0) {
            fprintf(out, "%s%s", before, commands[i].name);
            before = ", ";
        }
    }
}

void settings_print_sample(FILE *out)
{
    fprintf(
        out,
        "# Settings of `blotter`, each with its default. Made by `blotter help --sample-config`.\n"
        "#\n"
        "# A flag (--batch-rows 500) goes before the environment (BLOTTER_BATCH_ROWS=500), which\n"
        "# goes before this file.\n"
        "# A line is `name = value`, or a comment that begins with #. Values take no quotes.\n");
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &setting_table[i];
        char allowed[256];

        if (strcmp(setting->name, "config") == 0 || setting->commands == 1u << COMMAND_HELP) {
            continue;
        }
        setting_describe_allowed(setting, allowed, sizeof allowed);
        fprintf(out, "\n# %s\n# %s; for ", setting->meaning, allowed);
        print_users(out, setting->commands);
        fprintf(out, "\n#%s =%s%s\n", setting->name,
                setting->default_text == NULL || setting->default_text[0] == '\0' ? "" : " ",
                setting->default_text == NULL ? "" : setting->default_text);
    }
}
