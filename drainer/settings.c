/* settings.c: reads settings. The sources are read from the least to the most important, each
 * overwriting the one before, so that a mistake is found wherever it is. What is printed about them
 * is in settings_help.c. */
#include "drainer/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_BYTES = 4096,
    NAME_BYTES = 64,
};

/* clang-format off */
enum command_bit {
#define X(id, name, arguments, fewest, most, text) id = 1u << COMMAND_##id,
    COMMANDS(X)
#undef X
        EVERY = (1u << COMMAND_COUNT) - 1
};
/* clang-format on */

#define NONE NULL
#define ANY .min = 0
#define VALUE(name) .value = (name)
#define CHOICES(list) .choices = (list)
#define RANGE(least, most) .min = (least), .max = (most)

/* clang-format off */
const struct setting setting_table[] = {
#define X(member, kind, default_, commands_, allowed, meaning_) \
    {.name = #member,                                           \
     .type = SETTING_##kind,                                    \
     .default_text = default_,                                  \
     .commands = commands_,                                     \
     .meaning = meaning_,                                       \
     .offset = offsetof(struct settings, member),               \
     allowed},
    SETTINGS(X)
#undef X
};
/* clang-format on */
const size_t setting_count = sizeof setting_table / sizeof setting_table[0];

/* Where a value comes from, as it is named in messages. */
struct origin {
    const char *text; /* "flag", "environment", or a file's path */
    unsigned line;    /* in the file; 0: not a file */
};

struct loading {
    struct settings *settings;
    enum command_id command;
    char *error;
};

/* --- values
 * --------------------------------------------------------------------------------------------------------------
 */

struct unit {
    const char *suffix;
    int64_t factor;
};
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                    {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};

/* Digits and a suffix. */
static bool parse_number(const char *text, const struct unit *units, int64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    if (number == 0 && *end == '\0') { /* nothing is nothing in every unit */
        *out = 0;
        return true;
    }
    for (; units->suffix != NULL; units++) {
        if (strcmp(end, units->suffix) == 0) {
            return !__builtin_mul_overflow((int64_t)number, units->factor, out);
        }
    }
    return false;
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false",
                                                                                "off", "0"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

/* Is it one of "a|b|c"? */
static bool is_choice(const char *text, const char *choices)
{
    size_t length = strlen(text);

    while (choices != NULL) {
        size_t each = strcspn(choices, "|");

        if (each == length && memcmp(choices, text, length) == 0) {
            return true;
        }
        choices = choices[each] == '|' ? choices + each + 1 : NULL;
    }
    return false;
}

static const struct unit *units_of(enum setting_type type)
{
    return type == SETTING_DURATION ? durations : type == SETTING_SIZE ? sizes : counts;
}

static void set_text(char **member, const char *text)
{
    free(*member);
    *member = text == NULL ? NULL : strdup(text);
    if (text != NULL && *member == NULL) {
        abort();
    }
}

/* False: it is not allowed, and nothing has changed. */
static bool assign(struct settings *settings, const struct setting *setting, const char *text)
{
    void *member = (char *)settings + setting->offset;
    int64_t number;

    switch (setting->type) {
    case SETTING_CHOICE:
        if (!is_choice(text, setting->choices)) {
            return false;
        }
        /* fall through */
    case SETTING_STRING:
    case SETTING_PLACE:
    case SETTING_SECRET:
        set_text(member, text);
        return true;
    case SETTING_BOOL:
        return parse_bool(text, member);
    case SETTING_DURATION:
    case SETTING_SIZE:
    case SETTING_COUNT:
        if (!parse_number(text, units_of(setting->type), &number) || number < setting->min ||
            number > setting->max) {
            return false;
        }
        *(int64_t *)member = number;
        return true;
    }
    abort();
}

/* --- names
 * ---------------------------------------------------------------------------------------------------------------
 */

/* '-' and '_' are the same in a name. */
static bool name_is(const struct setting *setting, const char *name, size_t length)
{
    if (strlen(setting->name) != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if ((name[i] == '-' ? '_' : name[i]) != setting->name[i]) {
            return false;
        }
    }
    return true;
}

static const struct setting *find(const char *name, size_t length)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (name_is(&setting_table[i], name, length)) {
            return &setting_table[i];
        }
    }
    return NULL;
}

/* Changes of one character that make one name of the other. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES + 1], length = strlen(b);

    if (length > NAME_BYTES) {
        return NAME_BYTES;
    }
    for (size_t j = 0; j <= length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t change = diagonal + ((a[i - 1] == '-' ? '_' : a[i - 1]) != b[j - 1]);
            size_t best = row[j - 1] + 1 < row[j] + 1 ? row[j - 1] + 1 : row[j] + 1;

            diagonal = row[j];
            row[j] = change < best ? change : best;
        }
    }
    return row[length];
}

/* The setting that was probably meant, or NULL. */
static const struct setting *nearest(const char *name, enum command_id command)
{
    const struct setting *best = NULL;
    size_t best_distance = 3;

    for (size_t i = 0; i < setting_count; i++) {
        size_t each = distance(name, setting_table[i].name);

        if ((setting_table[i].commands & (1u << command)) != 0 && each < best_distance) {
            best = &setting_table[i];
            best_distance = each;
        }
    }
    return best;
}

/* --- complaints: each returns -1 --- */

static void flag_name(char out[NAME_BYTES], const char *name)
{
    snprintf(out, NAME_BYTES, "%s", name);
    for (char *at = out; *at != '\0'; at++) {
        *at = *at == '_' ? '-' : *at;
    }
}

static int bad_value(const struct loading *loading, const struct setting *setting,
                     const struct origin *origin, const char *text)
{
    bool quiet = setting->type == SETTING_PLACE || setting->type == SETTING_SECRET;
    char allowed[256], where[300];

    setting_allowed(setting, allowed, sizeof allowed);
    if (origin->line > 0) {
        snprintf(where, sizeof where, "%.256s:%u", origin->text, origin->line);
    } else {
        snprintf(where, sizeof where, "%s", origin->text);
    }
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "setting %s (from %s): \"%.128s\" is not allowed: expected %s", setting->name, where,
             quiet ? "..." : text, allowed);
    return -1;
}

/* `name` without a value: that may be a secret. */
static int unknown_flag(const struct loading *loading, const char *name, size_t length)
{
    char given[NAME_BYTES], flag[NAME_BYTES] = "";

    snprintf(given, sizeof given, "%.*s", (int)length, name);
    const struct setting *meant = nearest(given, loading->command);
    if (meant != NULL) {
        flag_name(flag, meant->name);
    }
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "unknown flag --%s%s%s%s; `blotter help %s` lists the flags", given,
             meant == NULL ? "" : ", perhaps --", flag, meant == NULL ? "" : " is meant",
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
    char flag[NAME_BYTES], others[256] = "";

    flag_name(flag, setting->name);
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
    char environment[NAME_BYTES];

    snprintf(environment, sizeof environment, "%s", setting->name);
    for (char *at = environment; *at != '\0'; at++) {
        *at = (char)toupper((unsigned char)*at);
    }
    snprintf(loading->error, SETTINGS_ERROR_BYTES,
             "setting %s: a secret is not given on the command line, where every user of the "
             "machine can read it; use the "
             "environment (BLOTTER_%s), %s_file, or the file of --config",
             setting->name, environment, setting->name);
    return -1;
}

static int complain(const struct loading *loading, const char *what, const char *about)
{
    snprintf(loading->error, SETTINGS_ERROR_BYTES, "%s: %.512s", about, what);
    return -1;
}

/* --- the command line
 * ----------------------------------------------------------------------------------------------------
 */

/* Takes one flag; `next` is the word behind it. Returns how many words it took, or -1. With only
 * set, any other flag is just stepped over: the file's name has to be known before the file is
 * read, and the file is read before the flags. */
static int take_flag(const struct loading *loading, const char *word, const char *next,
                     const struct setting *only)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t length = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const struct setting *setting = find(name, length);
    const char *value = equals == NULL ? next : equals + 1;
    struct origin origin = {"the command line", 0};
    bool negated = false;

    if (setting == NULL && equals == NULL && strncmp(name, "no-", 3) == 0) {
        setting = find(name + 3, length - 3);
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
        return complain(loading, "needs a value", word);
    }
    if ((only == NULL || only == setting) && !assign(loading->settings, setting, value)) {
        return bad_value(loading, setting, &origin, value);
    }
    return equals != NULL || setting->type == SETTING_BOOL ? 1 : 2;
}

/* Returns how many arguments there are beside the flags, or -1. */
static int take_words(const struct loading *loading, int argc, char **argv,
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
            return complain(loading, "flags begin with two dashes", "unknown flag");
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
        snprintf(
            loading->error, SETTINGS_ERROR_BYTES, "`blotter %s` takes %s%s, %s", command->name,
            command->arguments[0] == '\0' ? "no arguments" : "the arguments ", command->arguments,
            count < command->fewest_arguments ? "but there are too few" : "but there are more");
        return -1;
    }
    return 0;
}

/* --- the environment, the file --- */

static int take_environment(const struct loading *loading, const struct setting *setting)
{
    char name[NAME_BYTES + 8] = "BLOTTER_";
    struct origin origin = {name, 0};
    size_t prefix = strlen(name);

    for (size_t i = 0; i <= strlen(setting->name); i++) {
        name[prefix + i] = (char)toupper((unsigned char)setting->name[i]);
    }
    const char *value = getenv(name);
    if (value != NULL && value[0] != '\0' && !assign(loading->settings, setting, value)) {
        return bad_value(loading, setting, &origin, value);
    }
    return 0;
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

/* The line may hold a secret: a complaint names its number and setting only. */
static int take_line(const struct loading *loading, char *line, const struct origin *origin)
{
    char *name = trimmed(line), *equals = strchr(name, '='), where[300];

    snprintf(where, sizeof where, "%.256s:%u", origin->text, origin->line);
    if (name[0] == '\0' || name[0] == '#') {
        return 0;
    }
    if (equals == NULL) {
        return complain(loading, "expected `name = value`, or # and a comment", where);
    }
    *equals = '\0';
    name = trimmed(name);
    const struct setting *setting = find(name, strlen(name));
    if (setting == NULL || strcmp(setting->name, "config") == 0) {
        return unknown_setting(loading, name, origin);
    }
    const char *value = trimmed(equals + 1);
    return assign(loading->settings, setting, value) ? 0
                                                     : bad_value(loading, setting, origin, value);
}

static int take_file(const struct loading *loading, const char *path)
{
    struct origin origin = {path, 0};
    char line[LINE_BYTES];
    int result = 0;
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        snprintf(loading->error, SETTINGS_ERROR_BYTES, "setting config: cannot read %.256s: %s",
                 path, strerror(errno));
        return -1;
    }
    while (result == 0 && fgets(line, sizeof line, file) != NULL) {
        origin.line++;
        result = take_line(loading, line, &origin);
    }
    if (result == 0 && ferror(file)) {
        snprintf(loading->error, SETTINGS_ERROR_BYTES, "setting config: cannot read %.256s: %s",
                 path, strerror(errno));
        result = -1;
    }
    fclose(file);
    return result;
}

/* The password's file is a setting of its own, so that a service manager can hand over a file that
 * only it can read. */
static int take_password_file(const struct loading *loading)
{
    struct settings *settings = loading->settings;
    char line[LINE_BYTES];

    if (settings->redis_password != NULL || settings->redis_password_file == NULL) {
        return 0;
    }
    FILE *file = fopen(settings->redis_password_file, "re");
    bool read = file != NULL && fgets(line, sizeof line, file) != NULL;
    int error = errno;
    if (file != NULL) {
        fclose(file);
    }
    if (!read) {
        snprintf(loading->error, SETTINGS_ERROR_BYTES,
                 "setting redis_password_file: cannot read %.256s: %s",
                 settings->redis_password_file, file == NULL ? strerror(error) : "it is empty");
        return -1;
    }
    line[strcspn(line, "\r\n")] = '\0';
    set_text(&settings->redis_password, line);
    return 0;
}

/* --- all together
 * --------------------------------------------------------------------------------------------------------
 */

static int take_defaults(const struct loading *loading)
{
    struct origin origin = {"default", 0};

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &setting_table[i];

        if (setting->default_text != NULL &&
            !assign(loading->settings, setting, setting->default_text)) {
            return bad_value(loading, setting, &origin, setting->default_text);
        }
    }
    return 0;
}

int settings_load(struct settings *settings, enum command_id command, int argc, char **argv,
                  char error[SETTINGS_ERROR_BYTES])
{
    struct loading loading = {settings, command, error};
    const struct setting *config = find("config", strlen("config"));

    *settings = (struct settings){.command = command, .arguments = argv};
    if (take_defaults(&loading) != 0 || take_environment(&loading, config) != 0 ||
        take_words(&loading, argc, argv, config) < 0) {
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
    settings->argument_count = take_words(&loading, argc, argv, NULL);
    if (settings->argument_count < 0 || take_password_file(&loading) != 0) {
        return -1;
    }
    return check_arguments(&loading, settings->argument_count);
}

void settings_release(struct settings *settings)
{
    for (size_t i = 0; i < setting_count; i++) {
        enum setting_type type = setting_table[i].type;

        if (type == SETTING_STRING || type == SETTING_PLACE || type == SETTING_SECRET ||
            type == SETTING_CHOICE) {
            set_text((char **)(void *)((char *)settings + setting_table[i].offset), NULL);
        }
    }
}
