/* self_spawn.c: see self_spawn.h. Everything is prepared before the fork, so that the child only
 * makes system calls. */
#include "drainer/self_spawn.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "drainer/memory.h"

static const char variable_prefix[] = "BLOTTER_";

extern char **environ;

/* Writes a setting's value as it is given in the environment. False: it is not set. */
static bool setting_print(FILE *out, const struct settings *settings, const struct setting *setting)
{
    const char *at = (const char *)settings + setting->offset;
    switch (setting->type) {
    case SETTING_BOOL:
        fputs(*(const bool *)at ? "yes" : "no", out);
        return true;
    case SETTING_DURATION:
        fprintf(out, "%" PRId64 "ms", *(const int64_t *)at);
        return true;
    case SETTING_SIZE:
    case SETTING_COUNT:
        fprintf(out, "%" PRId64, *(const int64_t *)at);
        return true;
    default:
        if (*(char *const *)at == NULL) {
            return false;
        }
        fputs(*(char *const *)at, out);
        return true;
    }
}

/* Returns "BLOTTER_NAME=value", or NULL: the setting is not set. */
static char *variable_of(const struct settings *settings, const struct setting *setting)
{
    char *text = NULL, name[SETTING_NAME_BYTES];
    size_t length = 0;
    FILE *out = memory_or_abort(open_memstream(&text, &length));
    setting_variable_name(name, setting->name);
    fprintf(out, "%s=", name);
    bool given = setting_print(out, settings, setting);
    if (fclose(out) != 0) {
        abort();
    }
    if (!given) {
        free(text);
        return NULL;
    }
    return text;
}

/* Returns our environment, with the settings of the command in place of all that begins with
 * BLOTTER_: the file of --config, too, has been read already. */
static char **environment_of(const struct settings *settings, enum command_id command)
{
    size_t count = 0, used = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **made = memory_or_abort(calloc(count + setting_count + 1, sizeof *made));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], variable_prefix, strlen(variable_prefix)) != 0) {
            made[used++] = memory_copy(environ[i]);
        }
    }
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &setting_table[i];
        bool wanted =
            (setting->commands & 1U << command) != 0 && strcmp(setting->name, "config") != 0;
        char *variable = wanted ? variable_of(settings, setting) : NULL;
        if (variable != NULL) {
            made[used++] = variable;
        }
    }
    return made;
}

static void environment_free(char **environment)
{
    for (size_t i = 0; environment[i] != NULL; i++) {
        free(environment[i]);
    }
    free(environment);
}

/* Becomes the program, in the child: ours is the parent, whose death ends us, also if it has died
 * already. */
static void child_exec(pid_t parent, char *const argv[], char **environment, int out, int err)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
        (out < 0 || dup2(out, STDOUT_FILENO) >= 0) && (err < 0 || dup2(err, STDERR_FILENO) >= 0)) {
        execve("/proc/self/exe", argv, environment);
    }
    _exit(127);
}

pid_t self_spawn(const struct settings *settings, enum command_id command, char *const argv[],
                 int out, int err)
{
    char **environment = environment_of(settings, command);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        child_exec(parent, argv, environment, out, err);
    }
    environment_free(environment);
    return child;
}
