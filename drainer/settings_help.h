/* settings_help.h: prints the tables of commands and settings for people: --help, the sample file.
 */
#ifndef BLOTTER_DRAINER_SETTINGS_HELP_H
#define BLOTTER_DRAINER_SETTINGS_HELP_H

#include <stdio.h>

#include "drainer/command_list.h"

/* Prints --help of one command, of the program, and the sample file. */
void settings_print_help(FILE *, enum command_id);
void settings_print_commands(FILE *);
void settings_print_sample(FILE *);

#endif
