/* completion.c: `blotter completion bash|zsh`: the shells' completion, made from the tables of
 * commands and settings. */
#include <stdio.h>
#include <string.h>

#include "drainer/commands.h"
#include "drainer/settings_table.h"

/* Prints the words that may follow a command: "list|show ID" begins with list and show. */
static void print_verbs(const struct command *command)
{
    size_t length = strcspn(command->arguments, " ");
    bool verbs = memchr(command->arguments, '|', length) != NULL;

    for (size_t i = 0; verbs && i < length; i++) {
        putchar(command->arguments[i] == '|' ? ' ' : command->arguments[i]);
    }
}

static void print_flag(const struct setting *setting)
{
    char name[SETTING_NAME_BYTES];

    setting_flag_name(name, setting->name);
    printf(" --%s", name);
}

static void print_choices(const struct setting *setting)
{
    for (const char *at = setting->choices; *at != '\0'; at++) {
        putchar(*at == '|' ? ' ' : *at);
    }
}

static void print_commands(void)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        printf("%s%s", i == 0 ? "" : " ", commands[i].name);
    }
}

/* Writes a case for each command: its flags and verbs. */
static void print_words_of_commands(void)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        printf("        %s) words=\"--help", commands[i].name);
        for (size_t j = 0; j < setting_count; j++) {
            if ((setting_table[j].commands & (1u << i)) != 0 &&
                setting_table[j].type != SETTING_SECRET) {
                print_flag(&setting_table[j]);
            }
        }
        putchar(' ');
        if (i == COMMAND_HELP) {
            print_commands();
        } else {
            print_verbs(&commands[i]);
        }
        printf("\" ;;\n");
    }
}

/* Writes a case for each flag with a choice or a file. */
static void print_values_of_flags(void)
{
    for (size_t j = 0; j < setting_count; j++) {
        const struct setting *setting = &setting_table[j];
        bool path = setting->value != NULL &&
                    (strcmp(setting->value, "FILE") == 0 || strcmp(setting->value, "PATH") == 0);

        if (setting->type == SETTING_CHOICE) {
            printf("       ");
            print_flag(setting);
            printf(") COMPREPLY=($(compgen -W \"");
            print_choices(setting);
            printf("\" -- \"$current\")); return ;;\n");
        } else if (path && setting->type != SETTING_SECRET) {
            printf("       ");
            print_flag(setting);
            printf(") COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n");
        }
    }
}

int command_completion(const struct settings *settings)
{
    bool zsh = strcmp(settings->arguments[0], "zsh") == 0;

    if (!zsh && strcmp(settings->arguments[0], "bash") != 0) {
        return command_fail(settings, EXIT_CODE_USAGE, "expected bash or zsh, not \"%.64s\"",
                            settings->arguments[0]);
    }
    if (zsh) {
        printf("#compdef blotter\nautoload -U +X bashcompinit && bashcompinit\n");
    }
    printf("# Completion of blotter, made by `blotter completion %s`.\n"
           "_blotter() {\n"
           "    local current=${COMP_WORDS[COMP_CWORD]} words\n"
           "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n",
           settings->arguments[0]);
    print_values_of_flags();
    printf("    esac\n"
           "    case ${COMP_CWORD:-0}:${COMP_WORDS[1]} in\n"
           "        1:*) words=\"");
    print_commands();
    printf("\" ;;\n"
           "    esac\n"
           "    if [[ $COMP_CWORD -gt 1 ]]; then\n"
           "        case ${COMP_WORDS[1]} in\n");
    print_words_of_commands();
    printf(
        "        esac\n"
        "    fi\n"
        "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
        "    case ${COMP_WORDS[1]} in journal) COMPREPLY+=($(compgen -f -- \"$current\")) ;; esac\n"
        "}\n"
        "complete -F _blotter blotter\n");
    return EXIT_CODE_DONE;
}
