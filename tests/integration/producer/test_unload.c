/* test_unload.c: libblotter.so is closed by dlclose while a thread of its own looks up the name of
 * Redis, which takes as long as the name server likes, and which nobody waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/blotter.h"
#include "tests/fixture/fixture.h"

enum { TIMEOUT_MS = 60000 };

/* The system's look-up, which this program's functions stand before: it answers when it may. */
static sem_t asked, may_answer;
typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((visibility("default"))) int getaddrinfo(const char *host, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **result)
{
    look_up *system_look_up;
    *(void **)&system_look_up = dlsym(RTLD_NEXT, "getaddrinfo");
    sem_post(&asked);
    sem_wait(&may_answer);
    return system_look_up(host, service, hints, result);
}

static bool one_thread_is_left(void *unused)
{
    (void)unused;
    int threads = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        threads += entry->d_name[0] != '.';
    }
    closedir(folder);
    return threads == 1;
}

static void *open_library(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    assert_true(length > 0);
    path[length] = 0;
    strcpy(strstr(path, "/tests/integration/"), "/libblotter.so");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fail_msg("%s", dlerror());
    }
    return library;
}

static void a_look_up_may_end_behind_dlclose(void **state)
{
    (void)state;
    int (*open_producer)(blotter_producer **, const struct blotter_options *);
    int64_t (*close_producer)(blotter_producer *, int);
    blotter_producer *producer;
    void *library = open_library();
    *(void **)&open_producer = dlsym(library, "blotter_open");
    *(void **)&close_producer = dlsym(library, "blotter_close");
    const struct blotter_options options = {.exchange = "okx",
                                            .journal = fixture_folder(),
                                            .slots = 64,
                                            .redis = "redis://localhost:1"};
    assert_int_equal(open_producer(&producer, &options), BLOTTER_OK);
    sem_wait(&asked);
    close_producer(producer, 0);
    assert_int_equal(dlclose(library), 0);
    sem_post(&may_answer);
    assert_true(fixture_wait_until(one_thread_is_left, NULL, TIMEOUT_MS));
}

static int end(void **state)
{
    (void)state;
    fixture_cleanup();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_look_up_may_end_behind_dlclose, end),
    };
    sem_init(&asked, 0, 0);
    sem_init(&may_answer, 0, 0);
    return cmocka_run_group_tests_name("unload", tests, NULL, NULL);
}
