/* fuzz_settings.c: settings from the command line, the environment and a file, whatever they hold.
 *
 * The first byte says which command they are for. Each line is a flag if it begins with '-', an
 * argument behind '+', a variable if it begins with BLOTTER_, and else a line of the file of
 * --config.
 *
 * It is checked that what is taken is as the table allows, and that a complaint is one line that
 * tells no secret: one that the input has is the word below. */
#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "drainer/settings.h"
#include "producer/redis_url.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 32, PATH_BYTES = 32 };
static const char secret[] = "hunter2";

struct given {
    char *words[WORDS_MAX + 1];
    int word_count;
    char *variables[WORDS_MAX + 2];
    int variable_count;
    bool secret_is_secret; /* wherever it stands */
};

/* Says whether the secret stands where nothing may be printed: as a value, but not of a setting
 * whose values are shown. That of a name that is none may be meant for one that is secret. */
static bool is_secret(const char *line)
{
    const char *name = strncmp(line, "BLOTTER_", 8) == 0 ? line + 8 : line + strspn(line, "- \t");
    size_t length = strcspn(name, "= \t");
    char lower[64];

    if (line[0] == '+' || strstr(name, secret) < strchrnul(name, '=') || length >= sizeof lower) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        lower[i] = (char)tolower((unsigned char)name[i]);
    }
    const struct setting *setting = setting_find(lower, length);
    return setting == NULL || setting->type == SETTING_SECRET || setting->type == SETTING_PLACE;
}

static void take_line(struct given *given, char *line, int file)
{
    if (strstr(line, secret) != NULL && !is_secret(line)) {
        given->secret_is_secret = false;
    }
    if ((line[0] == '-' || line[0] == '+') && given->word_count < WORDS_MAX) {
        given->words[given->word_count++] = line + (line[0] == '+');
    } else if (strncmp(line, "BLOTTER_", 8) == 0 && strchr(line, '=') != NULL &&
               given->variable_count < WORDS_MAX) {
        given->variables[given->variable_count++] = line;
    } else {
        CHECK(dprintf(file, "%s\n", line) >= 0);
    }
}

static void check_settings(const struct settings *settings)
{
    const struct command *command = &commands[settings->command];

    CHECK(settings->argument_count >= command->fewest_arguments &&
          settings->argument_count <= command->most_arguments);
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &setting_table[i];
        const void *member = (const char *)settings + setting->offset;

        if (setting_is_text(setting)) {
            const char *text = *(char *const *)member;
            CHECK(text != NULL || setting->default_text == NULL);
        } else if (setting->type != SETTING_BOOL) {
            int64_t number = *(const int64_t *)member;
            CHECK(number >= setting->min && number <= setting->max);
        }
    }
}

static void check_error(const char *error, const struct given *given)
{
    CHECK(error[0] != '\0' && strlen(error) < SETTINGS_ERROR_BYTES);
    CHECK(!given->secret_is_secret || strstr(error, secret) == NULL);
}

static void check_url(const char *text)
{
    static struct redis_url url;
    char error[512];

    if (redis_url_parse(&url, text, error, sizeof error) != 0) {
        CHECK(strncmp(error, "Redis URL: ", 11) == 0);
    } else if (!setting_holds_password(text)) {
        CHECK(url.password[0] == '\0' && url.sentinel_password[0] == '\0');
    }
}

static void on_misspelt(void *arg, const char *name, const char *meant)
{
    (void)arg;
    CHECK(strncmp(name, "BLOTTER_", 8) == 0);
    CHECK(meant == NULL || strncmp(meant, "BLOTTER_", 8) == 0);
}

static void load(enum command_id command, struct given *given)
{
    struct settings settings;
    char error[SETTINGS_ERROR_BYTES] = "";
    char **before = environ;

    environ = given->variables;
    if (settings_load(&settings, command, given->word_count, given->words, error) == 0) {
        check_settings(&settings);
        check_url(settings.redis);
        settings_find_misspelt(on_misspelt, NULL);
    } else {
        check_error(error, given);
    }
    environ = before;
    settings_release(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[PATH_BYTES];
    static char config[PATH_BYTES + 16];
    struct given given = {.secret_is_secret = true};
    char *text = malloc(size + 1), *rest = NULL;

    if (file < 0) {
        file = memfd_create("settings", MFD_CLOEXEC);
        CHECK(file >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        snprintf(config, sizeof config, "BLOTTER_CONFIG=%s", path);
    }
    CHECK(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    given.variables[given.variable_count++] = config;
    memcpy(text, size > 0 ? (const char *)data + 1 : "", size > 0 ? size - 1 : 0);
    text[size > 0 ? size - 1 : 0] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        take_line(&given, line, file);
    }
    load((enum command_id)((size > 0 ? data[0] : 0) % COMMAND_COUNT), &given);
    free(text);
    return 0;
}
