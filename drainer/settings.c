/* settings.c: reads settings. The sources are read from the least to the most important, each
 * overwriting the one before, so that a mistake is found wherever it is. */
#include "drainer/settings.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES = 4096 };

/* The origin of a value, as it is named in messages. */
struct origin {
    const char *text; /* "flag", "environment", or a file's path */
    unsigned line;    /* in the file; 0: not a file */
};

struct loading {
    struct settings *settings;
    enum command_id command;
    char *error;
};

/* --- complaints: each returns -1 --- */

static int bad_value(const struct loading *loading, const struct setting *setting,
                     const struct origin *origin, const char *text)
{
    bool quiet = setting->type == SETTING_PLACE || setting->type == SETTING_SECRET;
    char allowed[256], where[300];

    setting_describe_allowed(setting, allowed, sizeof allowed);
    if (origin->line > 0) {
        snprintf(where, sizeof where, "%.256s:%u", origin->text, origin->line);
    } else {
        snprintf(where, sizeof where, "%s", origin->text);
    }
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "setting %s (from %s): \"%.128s\" is not allowed: expected %s%s", setting->name, where,
             quiet ? "..." : text, allowed,
             text[0] == '"' || text[0] == '\'' ? "; values take no quotes" : "");
    return -1;
}

/* Complains of a flag. `name` is without its value, which may be a secret. */
static int unknown_flag(const struct loading *loading, const char *name, size_t length)
{
    char given[SETTING_NAME_BYTES], flag[SETTING_NAME_BYTES] = "";

    snprintf(given, sizeof given, "%.*s", (int)length, name);
    const struct setting *meant = setting_nearest(given, 1u << loading->command);
    if (meant != NULL) {
        setting_flag_name(flag, meant->name);
    }
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "unknown flag --%s%s%s%s; `blotter help %s` lists the flags", given,
             meant == NULL ? "" : "; did you mean --", flag, meant == NULL ? "" : "?",
             commands[loading->command].name);
    return -1;
}

static int unknown_setting(const struct loading *loading, const char *name,
                           const struct origin *origin)
{
    bool plain = name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';

    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "%.256s:%u: there is no setting %.64s; `blotter help --sample-config` lists them",
             origin->text, origin->line, plain ? name : "of that name");
    return -1;
}

static int flag_of_others(const struct loading *loading, const struct setting *setting)
{
    char flag[SETTING_NAME_BYTES], others[256] = "";

    setting_flag_name(flag, setting->name);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if ((setting->commands & (1u << i)) != 0) {
            size_t length = strlen(others);

            snprintf(others + length, sizeof others - length, "%s%s", length == 0 ? "" : ", ",
                     commands[i].name);
        }
    }
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "`blotter %s` has no flag --%s; it belongs to: %s", commands[loading->command].name,
             flag, others);
    return -1;
}

static int flag_for_secret(const struct loading *loading, const struct setting *setting)
{
    char variable[SETTING_NAME_BYTES];

    setting_variable_name(variable, setting->name);
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "setting %s: every user of the machine can read the command line; give a password by "
             "the environment (%s), %s, or the file of --config",
             setting->name, variable,
             strncmp(setting->name, "questdb", 7) == 0 ? "questdb_password_file"
             : setting->type == SETTING_SECRET         ? "redis_password_file"
             : strcmp(setting->name, "postgres") == 0  ? "PGPASSWORD, ~/.pgpass"
                                                       : "BLOTTER_REDIS_PASSWORD");
    return -1;
}

static int settings_complain(const struct loading *loading, const char *what, const char *about)
{
    snprintf(loading->error, SETTINGS_ERROR_BYTES, "%s: %.512s", about, what);
    return -1;
}

/* --- the command line --- */

/* Takes one flag; `next` is the word behind it. Returns how many words it took, or -1. With only
 * set, any other flag is just stepped over: the file's name has to be known before the file is
 * read, and the file is read before the flags. */
static int take_flag(const struct loading *loading, const char *word, const char *next,
                     const struct setting *only)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t length = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const struct setting *setting = setting_find(name, length);
    const char *value = equals == NULL ? next : equals + 1;
    struct origin origin = {"the command line", 0};
    bool negated = false;

    if (setting == NULL && equals == NULL && strncmp(name, "no-", 3) == 0) {
        setting = setting_find(name + 3, length - 3);
        negated = true;
    }
    if (setting == NULL || (negated && setting->type != SETTING_BOOL)) {
        return unknown_flag(loading, name, length);
    }
    if (setting->type == SETTING_SECRET) {
        return flag_for_secret(loading, setting);
    }
    if ((setting->commands & (1u << loading->command)) == 0) {
        return flag_of_others(loading, setting);
    }
    if (setting->type == SETTING_BOOL && equals == NULL) {
        value = negated ? "no" : "yes";
    } else if (value == NULL || (equals == NULL && strncmp(value, "--", 2) == 0)) {
        return settings_complain(loading, "it needs a value", word);
    }
    if (setting->type == SETTING_PLACE && setting_holds_password(value)) {
        return flag_for_secret(loading, setting);
    }
    if ((only == NULL || only == setting) && !setting_assign(loading->settings, setting, value)) {
        return bad_value(loading, setting, &origin, value);
    }
    return equals != NULL || setting->type == SETTING_BOOL ? 1 : 2;
}

/* Returns how many arguments there are beside the flags, or -1. */
static int settings_take_words(const struct loading *loading, int argc, char **argv,
                               const struct setting *only)
{
    int count = 0;
    bool flags = true;

    for (int i = 0; i < argc;) {
        char *word = argv[i];
        int taken = 1;

        if (flags && strcmp(word, "--") == 0) {
            flags = false;
        } else if (flags && strncmp(word, "--", 2) == 0) {
            taken = take_flag(loading, word, i + 1 < argc ? argv[i + 1] : NULL, only);
        } else if (flags && word[0] == '-' && word[1] != '\0') {
            return settings_complain(loading, "flags begin with two dashes", "unknown flag");
        } else if (only == NULL) {
            argv[count++] = word;
        }
        if (taken < 0) {
            return -1;
        }
        i += taken;
    }
    return count;
}

static int check_arguments(const struct loading *loading, int count)
{
    const struct command *command = &commands[loading->command];

    if (count < command->fewest_arguments || count > command->most_arguments) {
        snprintf(loading->error, SETTINGS_ERROR_BYTES, "too %s arguments; usage: blotter %s%s%s",
                 count < command->fewest_arguments ? "few" : "many", command->name,
                 command->arguments[0] == '\0' ? "" : " ", command->arguments);
        return -1;
    }
    return 0;
}

/* --- the environment, the file --- */

static int take_environment(const struct loading *loading, const struct setting *setting)
{
    char name[SETTING_NAME_BYTES];
    struct origin origin = {name, 0};

    setting_variable_name(name, setting->name);
    const char *value = getenv(name);
    if (value != NULL && value[0] != '\0' && !setting_assign(loading->settings, setting, value)) {
        return bad_value(loading, setting, &origin, value);
    }
    return 0;
}

/* Adds a line to the warnings, which the log gets once it is open. */
static void add_warning(const struct loading *loading, const char *setting, const char *path)
{
    char *before = loading->settings->warnings, *after = NULL;

    if (asprintf(
            &after,
            "%ssetting %s: other users can read %.256s, which holds a password: chmod 600 it\n",
            before == NULL ? "" : before, setting, path) < 0) {
        abort();
    }
    free(before);
    loading->settings->warnings = after;
}

static bool others_can_read(FILE *file)
{
    struct stat status;

    return fstat(fileno(file), &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0;
}

/* Reads a line without its newline. Returns 1; 0 at the end; -1 for a line that is too long, of
 * which nothing is printed, since it may hold a password. */
static int read_line(FILE *file, char line[LINE_BYTES])
{
    if (fgets(line, LINE_BYTES, file) == NULL) {
        return 0;
    }
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\n') {
        line[length - 1] = '\0';
    } else if (length == LINE_BYTES - 1 && getc(file) != EOF) {
        return -1;
    }
    return 1;
}

static char *trimmed(char *text)
{
    while (isspace((unsigned char)*text)) {
        text++;
    }
    for (size_t length = strlen(text); length > 0 && isspace((unsigned char)text[length - 1]);
         length--) {
        text[length - 1] = '\0';
    }
    return text;
}

/* Takes `name = value`. The line may hold a secret: a complaint names its number and setting only.
 * holds_password is set where it does. */
static int settings_take_line(const struct loading *loading, char *line,
                              const struct origin *origin, bool *holds_password)
{
    char *name = trimmed(line), *equals = strchr(name, '='), where[300];

    snprintf(where, sizeof where, "%.256s:%u", origin->text, origin->line);
    if (name[0] == '\0' || name[0] == '#') {
        return 0;
    }
    if (equals == NULL) {
        return settings_complain(loading, "expected `name = value`, or # and a comment", where);
    }
    *equals = '\0';
    name = trimmed(name);
    const struct setting *setting = setting_find(name, strlen(name));
    if (setting == NULL || strcmp(setting->name, "config") == 0) {
        return unknown_setting(loading, name, origin);
    }
    const char *value = trimmed(equals + 1);
    *holds_password = *holds_password || setting->type == SETTING_SECRET ||
                      (setting->type == SETTING_PLACE && setting_holds_password(value));
    return setting_assign(loading->settings, setting, value)
               ? 0
               : bad_value(loading, setting, origin, value);
}

static int take_lines(const struct loading *loading, FILE *file, const char *path)
{
    struct origin origin = {path, 0};
    bool holds_password = false;
    char line[LINE_BYTES];
    int result = 0, got;

    while (result == 0 && (got = read_line(file, line)) != 0) {
        origin.line++;
        if (got < 0) {
            snprintf(loading->error, SETTINGS_ERROR_BYTES,
                     "%.256s:%u: the line is longer than %d bytes", path, origin.line,
                     LINE_BYTES - 2);
            result = -1;
        } else {
            result = settings_take_line(loading, line, &origin, &holds_password);
        }
    }
    if (holds_password && others_can_read(file)) {
        add_warning(loading, "config", path);
    }
    return result;
}

static int take_file(const struct loading *loading, const char *path)
{
    FILE *file = fopen(path, "re");
    int result = file == NULL ? -1 : take_lines(loading, file, path);

    if (file == NULL || (result == 0 && ferror(file))) {
        snprintf(loading->error, SETTINGS_ERROR_BYTES, "setting config: cannot read %.256s: %s",
                 path, strerror(errno));
        result = -1;
    }
    if (file != NULL) {
        fclose(file);
    }
    return result;
}

/* Reads a password from its file, which a service manager can hand over so that only the service
 * can read it. */
static int take_password_file(const struct loading *loading, const char *name, const char *path,
                              char **password)
{
    char line[LINE_BYTES] = "";

    if (*password != NULL || path == NULL) {
        return 0;
    }
    FILE *file = fopen(path, "re");
    int got = file == NULL ? 0 : read_line(file, line), error = errno;
    if (file != NULL) {
        if (others_can_read(file)) {
            add_warning(loading, name, path);
        }
        fclose(file);
    }
    if (got <= 0) {
        snprintf(loading->error, SETTINGS_ERROR_BYTES, "setting %s: cannot read %.256s: %s", name,
                 path,
                 file == NULL ? strerror(error)
                 : got < 0    ? "the first line is too long"
                              : "it is empty");
        return -1;
    }
    line[strcspn(line, "\r")] = '\0';
    setting_set_text(password, line);
    explicit_bzero(line, sizeof line);
    return 0;
}

static int take_password_files(const struct loading *loading)
{
    struct settings *settings = loading->settings;

    if (take_password_file(loading, "redis_password_file", settings->redis_password_file,
                           &settings->redis_password) != 0) {
        return -1;
    }
    return take_password_file(loading, "questdb_password_file", settings->questdb_password_file,
                              &settings->questdb_password);
}

/* --- all together --- */

static int take_defaults(const struct loading *loading)
{
    struct origin origin = {"default", 0};

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &setting_table[i];

        if (setting->default_text != NULL &&
            !setting_assign(loading->settings, setting, setting->default_text)) {
            return bad_value(loading, setting, &origin, setting->default_text);
        }
    }
    return 0;
}

int settings_load(struct settings *settings, enum command_id command, int argc, char **argv,
                  char error[SETTINGS_ERROR_BYTES])
{
    struct loading loading = {settings, command, error};
    const struct setting *config = setting_find("config", strlen("config"));

    *settings = (struct settings){.command = command, .arguments = argv};
    if (take_defaults(&loading) != 0 || take_environment(&loading, config) != 0 ||
        settings_take_words(&loading, argc, argv, config) < 0) {
        return -1;
    }
    if (settings->config != NULL && take_file(&loading, settings->config) != 0) {
        return -1;
    }
    for (size_t i = 0; i < setting_count; i++) {
        if (&setting_table[i] != config && take_environment(&loading, &setting_table[i]) != 0) {
            return -1;
        }
    }
    settings->argument_count = settings_take_words(&loading, argc, argv, NULL);
    if (settings->argument_count < 0 || take_password_files(&loading) != 0) {
        return -1;
    }
    return check_arguments(&loading, settings->argument_count);
}

void settings_release(struct settings *settings)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (setting_is_text(&setting_table[i])) {
            setting_set_text((char **)(void *)((char *)settings + setting_table[i].offset), NULL);
        }
    }
    setting_set_text(&settings->warnings, NULL);
}

/* Finds the setting that a variable of the environment is meant for; NULL: none is near. */
static const char *find_meant(const char *name, char meant[SETTING_NAME_BYTES])
{
    char lower[SETTING_NAME_BYTES];
    size_t length = 0;

    for (; name[length] != '\0' && length + 1 < sizeof lower; length++) {
        lower[length] = (char)tolower((unsigned char)name[length]);
    }
    lower[length] = '\0';
    const struct setting *nearest = setting_nearest(lower, UINT_MAX);
    if (nearest == NULL) {
        return NULL;
    }
    setting_variable_name(meant, nearest->name);
    return meant;
}

void settings_find_misspelt(void (*found)(void *arg, const char *name, const char *meant),
                            void *arg)
{
    static const char prefix[] = "BLOTTER_";
    char name[SETTING_NAME_BYTES], known[SETTING_NAME_BYTES], meant[SETTING_NAME_BYTES];

    for (char **variable = environ; *variable != NULL; variable++) {
        size_t length = strcspn(*variable, "=");
        bool is_known = length >= sizeof name || strncmp(*variable, prefix, strlen(prefix)) != 0;

        for (size_t i = 0; !is_known && i < setting_count; i++) {
            setting_variable_name(known, setting_table[i].name);
            is_known = strlen(known) == length && strncmp(known, *variable, length) == 0;
        }
        if (!is_known) {
            snprintf(name, sizeof name, "%.*s", (int)length, *variable);
            found(arg, name, find_meant(name + strlen(prefix), meant));
        }
    }
}
