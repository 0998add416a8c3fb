/* settings_table.c: see settings_table.h. */
#include "drainer/settings_table.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drainer/memory.h"

enum { NAME_BYTES = 64 };

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

/* --- values --- */

struct unit {
    const char *suffix;
    int64_t factor;
};
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                    {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};

/* Reads digits and a suffix. */
static bool setting_parse_number(const char *text, const struct unit *units, int64_t *out)
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
    if (number == 0 && *end == '\0') { /* zero is zero in every unit */
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

/* Says whether it is one of "a|b|c". */
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

void setting_set_text(char **member, const char *text)
{
    free(*member);
    *member = memory_copy(text);
}

bool setting_assign(struct settings *settings, const struct setting *setting, const char *text)
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
        setting_set_text(member, text);
        return true;
    case SETTING_BOOL:
        return parse_bool(text, member);
    case SETTING_DURATION:
    case SETTING_SIZE:
    case SETTING_COUNT:
        if (!setting_parse_number(text, units_of(setting->type), &number) ||
            number < setting->min || number > setting->max) {
            return false;
        }
        *(int64_t *)member = number;
        return true;
    }
    abort();
}

bool setting_is_text(const struct setting *setting)
{
    return setting->type == SETTING_STRING || setting->type == SETTING_PLACE ||
           setting->type == SETTING_SECRET || setting->type == SETTING_CHOICE;
}

bool setting_parse_duration(const char *text, int64_t *ms)
{
    return setting_parse_number(text, durations, ms);
}

/* Says whether there is `key = x` in a connection string, or ?key=x in a URL. */
static bool names_a_secret(const char *place, const char *key)
{
    for (const char *at = strcasestr(place, key); at != NULL; at = strcasestr(at + 1, key)) {
        const char *behind = at + strlen(key);

        behind += strspn(behind, " ");
        if (*behind == '=' && behind[1 + strspn(behind + 1, " ")] != '\0') {
            return true;
        }
    }
    return false;
}

bool setting_holds_password(const char *place)
{
    const char *scheme = strstr(place, "://");

    if (scheme != NULL) {
        /* of Redis a password may hold any of / and ? (redis_url.c), of PostgreSQL all but / */
        bool redis = strncmp(place, "redis", 5) == 0;
        const char *user = scheme + 3;
        const char *host = memrchr(user, '@', redis ? strlen(user) : strcspn(user, "/"));
        const char *colon = host == NULL ? NULL : memchr(user, ':', (size_t)(host - user));

        if (colon != NULL && colon + 1 < host) {
            return true;
        }
    }
    return names_a_secret(place, "password") || names_a_secret(place, ";token");
}

/* --- names --- */

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

void setting_flag_name(char out[SETTING_NAME_BYTES], const char *name)
{
    snprintf(out, SETTING_NAME_BYTES, "%s", name);
    for (char *at = out; *at != '\0'; at++) {
        *at = *at == '_' ? '-' : *at;
    }
}

void setting_variable_name(char out[SETTING_NAME_BYTES], const char *name)
{
    snprintf(out, SETTING_NAME_BYTES, "BLOTTER_%s", name);
    for (char *at = out; *at != '\0'; at++) {
        *at = (char)toupper((unsigned char)*at);
    }
}

const struct setting *setting_find(const char *name, size_t length)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (name_is(&setting_table[i], name, length)) {
            return &setting_table[i];
        }
    }
    return NULL;
}

/* Counts the changes of one character that turn one name into the other. */
static size_t edit_distance(const char *a, const char *b)
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

const struct setting *setting_nearest(const char *name, unsigned commands_wanted)
{
    const struct setting *best = NULL;
    size_t best_distance = 3;

    for (size_t i = 0; i < setting_count; i++) {
        size_t each = edit_distance(name, setting_table[i].name);

        if ((setting_table[i].commands & commands_wanted) != 0 && each < best_distance) {
            best = &setting_table[i];
            best_distance = each;
        }
    }
    return best;
}

/* --- what is allowed --- */

/* Writes an amount in the largest unit in which it is a whole number. */
static void print_amount(char *out, size_t size, enum setting_type type, int64_t amount)
{
    static const struct {
        enum setting_type type;
        int64_t factor;
        const char *suffix;
    } units[] = {{SETTING_DURATION, 86400000, "d"},
                 {SETTING_DURATION, 3600000, "h"},
                 {SETTING_DURATION, 60000, "m"},
                 {SETTING_DURATION, 1000, "s"},
                 {SETTING_DURATION, 1, "ms"},
                 {SETTING_SIZE, 1 << 30, "GiB"},
                 {SETTING_SIZE, 1 << 20, "MiB"},
                 {SETTING_SIZE, 1 << 10, "KiB"},
                 {SETTING_SIZE, 1, ""},
                 {SETTING_COUNT, 1, ""}};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].type == type && amount % units[i].factor == 0 &&
            (amount != 0 || units[i].factor == 1)) {
            snprintf(out, size, "%" PRId64 "%s", amount / units[i].factor, units[i].suffix);
            return;
        }
    }
}

void setting_describe_allowed(const struct setting *setting, char *out, size_t size)
{
    char least[32], most[32];

    print_amount(least, sizeof least, setting->type, setting->min);
    print_amount(most, sizeof most, setting->type, setting->max);
    switch (setting->type) {
    case SETTING_STRING:
    case SETTING_PLACE:
    case SETTING_SECRET:
        snprintf(out, size, "%s", setting->value);
        return;
    case SETTING_CHOICE:
        snprintf(out, size, "one of %s", setting->choices);
        return;
    case SETTING_BOOL:
        snprintf(out, size, "yes or no");
        return;
    case SETTING_DURATION:
        snprintf(out, size, "a duration from %s to %s, as in 500ms, 5s, 2m, 1h, 1d", least, most);
        return;
    case SETTING_SIZE:
        snprintf(out, size, "a size from %s to %s, as in 4096, 64KiB, 4MiB", least, most);
        return;
    case SETTING_COUNT:
        snprintf(out, size, "a number from %s to %s", least, most);
        return;
    }
}
