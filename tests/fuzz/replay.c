/* replay.c: a fuzz target as a test: its seeds and what once broke it, with any compiler and
 * without libFuzzer.
 *
 * Runs the target on each file of tests/fuzz/corpus/<name> (or of the folder given), and on each
 * shorter beginning of it. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES_MAX = 1 << 20 };

static size_t read_file(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = fread(bytes, 1, FILE_BYTES_MAX, file);
    fclose(file);
    return size;
}

static void replay(const char *folder, const char *name)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    char path[4096 + 260];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    size_t size = read_file(path, bytes);
    printf("# %s\n", path); /* the one that breaks it is the last one named */
    for (size_t length = 0; length <= size; length++) {
        LLVMFuzzerTestOneInput(bytes, length);
    }
    printf("ok %s\n", name);
}

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    char folder[4096];
    const char *slash = strrchr(argv[0], '/'), *program = slash != NULL ? slash + 1 : argv[0];
    struct dirent **seeds;
    if (strncmp(program, "fuzz_", 5) == 0) {
        program += 5;
    }
    snprintf(folder, sizeof folder, "%s%s", argc > 1 ? "" : "tests/fuzz/corpus/",
             argc > 1 ? argv[1] : program);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int count = scandir(folder, &seeds, is_seed, alphasort);
    if (count < 0) {
        perror(folder);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        replay(folder, seeds[i]->d_name);
        free(seeds[i]);
    }
    free(seeds);
    return 0;
}
