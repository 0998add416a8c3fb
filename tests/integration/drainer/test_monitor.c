/* test_monitor.c: what a drainer tells by HTTP: numbers that are right, and whether it is alive and
 * ready. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/fixture/story.h"

static int port;
static struct fixture_program *drainer;

/* --- asking --- */

/* Sends bytes; returns all that is answered until the other side closes: "" if nothing, or nobody
 * listens. */
static const char *ask_raw(const char *bytes, size_t length)
{
    static char answer[1 << 20];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t got = 0;
    ssize_t more = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 10},
               sizeof(struct timeval));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length) {
        while (got < sizeof answer - 1 &&
               (more = read(fd, answer + got, sizeof answer - 1 - got)) > 0) {
            got += (size_t)more;
        }
    }
    answer[got] = '\0';
    close(fd);
    return answer;
}

static const char *get(const char *path)
{
    const char *request =
        fixture_format("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);

    return ask_raw(request, strlen(request));
}

static bool answers(const char *path, const char *code)
{
    return strncmp(get(path), fixture_format("HTTP/1.1 %s ", code), strlen("HTTP/1.1 200 ")) == 0;
}

/* The value of a sample; NAN-free: -1 where there is none. */
static double sample(const char *name)
{
    const char *line = strstr(get("/metrics"), fixture_format("\n%s ", name));

    return line == NULL ? -1 : strtod(line + strlen(name) + 2, NULL);
}

struct expected {
    const char *name;
    double least, most;
};

static bool sample_is_within(void *arg)
{
    const struct expected *expected = arg;
    double value = sample(expected->name);

    return value >= expected->least && value <= expected->most;
}

static void await_sample(const char *name, double least, double most)
{
    struct expected expected = {name, least, most};

    if (!fixture_wait_until(sample_is_within, &expected, STORY_TIMEOUT_MS)) {
        fail_msg("%s is %g, should be %g to %g; all:\n%s\n%s", name, sample(name), least, most,
                 get("/metrics"), fixture_program_stderr(drainer));
    }
}

struct answer {
    const char *path, *code;
};

static bool answer_is(void *arg)
{
    const struct answer *answer = arg;

    return answers(answer->path, answer->code);
}

static void await_answer(const char *path, const char *code)
{
    if (!fixture_wait_until(answer_is, &(struct answer){path, code}, STORY_TIMEOUT_MS)) {
        fail_msg("%s is not answered with %s but: %s", path, code, get(path));
    }
}

static void start_drainer(void)
{
    port = fixture_free_port();
    drainer = story_start("drain", "--consumer", "one", "--metrics",
                          fixture_format("127.0.0.1:%d", port), "--max-behind", "1s");
    await_answer("/readyz", "200");
}

static bool held_are(void *arg)
{
    double held = sample("blotter_stream_held{stream=\"blotter:kraken\"}") +
                  sample("blotter_stream_held{stream=\"blotter:okx\"}");

    return held == *(const double *)arg;
}

/* Adds up a gauge over the streams of kraken and okx. */
static void await_held(double count)
{
    if (!fixture_wait_until(held_are, &count, STORY_TIMEOUT_MS)) {
        fail_msg("not %g streams are held; all:\n%s\n%s", count, get("/metrics"),
                 fixture_program_stderr(drainer));
    }
}

/* --- the text's form --- */

/* A line is "# HELP name text", "# TYPE name type", or "name{label="value"} number", of the metric
 * announced last. */
static void check_line(const char *line, size_t length, char family[128])
{
    char name[128], type[32];

    if (sscanf(line, "# TYPE %127s %31s", family, type) == 2) {
        assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                    strcmp(type, "histogram") == 0);
    } else if (sscanf(line, "# HELP %127s", name) != 1) {
        const char *space = memchr(line, ' ', length);
        char *end;

        assert_non_null(space);
        assert_memory_equal(line, family, strlen(family));
        strtod(space + 1, &end);
        assert_ptr_equal(end, line + length);
    }
}

/* Buckets do not fall, and the last one is the count. */
static void check_histogram(const char *text, const char *name)
{
    const char *bucket = fixture_format("\n%s_bucket{le=", name);
    double last = 0;
    int buckets = 0;

    for (const char *at = strstr(text, bucket); at != NULL;
         at = strstr(at + 1, bucket), buckets++) {
        double value = strtod(strstr(at, "} ") + 2, NULL);

        assert_true(value >= last);
        last = value;
    }
    assert_true(buckets > 10);
    assert_true(last == strtod(strstr(text, fixture_format("\n%s_count ", name)) + strlen(name) +
                                   strlen("\n_count "),
                               NULL));
    assert_true(last > 0);
}

static void check_text(const char *text)
{
    char family[128] = "";

    for (const char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        check_line(line, (size_t)(end - line), family);
    }
}

/* Prometheus' own opinion, where it is installed (tests/run.sh --all does). */
static void check_with_promtool(const char *text)
{
    const char *const look[] = {"sh", "-c", "command -v promtool", NULL};
    struct fixture_program *program;

    if (fixture_run(look, NULL, STORY_TIMEOUT_MS, NULL) == 0) {
        const char *const argv[] = {"promtool", "check", "metrics", NULL};

        if (fixture_run(argv, &(struct fixture_program_options){.input = text}, STORY_TIMEOUT_MS,
                        &program) != 0) {
            fail_msg("promtool: %s", fixture_program_stderr(program));
        }
    }
}

/* --- tests --- */

static void the_numbers_are_those_of_what_was_loaded(void **state)
{
    (void)state;
    start_drainer();
    story_publish(0, "okx", story_order_lines(1, 100));
    story_add("blotter:okx", "order", "\xc1", 1);
    await_sample("blotter_drain_rejected_total", 1, 1);
    await_sample("blotter_drain_rows_total", 102, 102); /* with `opened` and `closed` */
    await_sample("blotter_stream_lag{stream=\"blotter:okx\"}", 0, 0);
    await_sample("blotter_stream_pending{stream=\"blotter:okx\"}", 0, 0);
    await_sample("blotter_intake_acked_total", 103, 103);
    await_sample("blotter_stream_held{stream=\"blotter:okx\"}", 1, 1);
    await_sample("blotter_drain_batch_rows_sum", 103, 103);
    await_sample("blotter_redis_up", 1, 1);
    await_sample("blotter_postgres_up", 1, 1);
    await_sample(
        "blotter_stream_rows_total{stream=\"blotter:okx\",exchange=\"okx\",kind=\"order\"}", 100,
        100);
    await_sample("blotter_stream_rejected_total{stream=\"blotter:okx\",exchange=\"okx\"}", 1, 1);
    await_sample("process_open_fds", 5, 100);
    await_sample("process_resident_memory_bytes", 1e6, 1e9);
    await_sample("process_start_time_seconds", (double)time(NULL) - 600, (double)time(NULL) + 5);

    const char *text = strstr(get("/metrics"), "\r\n\r\n") + 4;
    check_text(text);
    check_with_promtool(text);
    check_histogram(text, "blotter_drain_batch_rows");
    check_histogram(text, "blotter_drain_copy_seconds");
    check_histogram(text, "blotter_drain_commit_seconds");
    check_histogram(text, "blotter_drain_record_age_seconds");
    const char *bucket = strstr(text, "blotter_drain_commit_seconds_bucket{le=\"");
    assert_true(strtod(strchr(bucket, '"') + 1, NULL) < 1e-3);
    double seconds = sample("blotter_drain_commit_seconds_sum");
    assert_true(seconds > 0 && seconds < STORY_TIMEOUT_MS / 1000.0);

    /* Read once more: what a duplicate key meets is told as that, and as nothing else. */
    fixture_redis_run(story_redis, "XGROUP SETID blotter:okx drainers 0");
    await_sample("blotter_drain_failures_total{action=\"duplicate\"}", 1, 2);
    await_sample("blotter_drain_failures_total{action=\"data\"}", 0, 0);
    await_sample("blotter_drain_failures_total{action=\"retry\"}", 0, 0);
}

static void who_holds_which_stream_is_told_by_each_drainer(void **state)
{
    (void)state;
    story_add("blotter:kraken", "order", "x", 1);
    story_add("blotter:okx", "order", "x", 1);
    start_drainer();
    await_sample("blotter_drainers", 1, 1);
    await_sample("blotter_stream_held{stream=\"blotter:kraken\"}", 1, 1);
    await_sample("blotter_stream_held{stream=\"blotter:okx\"}", 1, 1);
    struct fixture_program *another = story_drainer("another");
    await_sample("blotter_drainers", 2, 2);
    await_held(1);
    fixture_program_stop(another, SIGTERM, STORY_TIMEOUT_MS);
    await_held(2);
    await_sample("blotter_drainers", 1, 1);

    /* While PostgreSQL is away nobody holds a stream, and whoever runs measures each. */
    fixture_postgres_stop(story_postgres, FIXTURE_FAST);
    await_sample("blotter_postgres_up", 0, 0);
    await_held(0);
    await_sample("blotter_stream_lag{stream=\"blotter:okx\"}", 0, 0);
    fixture_redis_run(story_redis, "DEL blotter:okx");
    await_sample("blotter_stream_held{stream=\"blotter:okx\"}", -1, -1); /* nothing is said of it */
    await_answer("/readyz", "503");
    assert_null(strstr(get("/readyz"), "blotter:okx: "));
    fixture_postgres_start_again(story_postgres);
    await_answer("/readyz", "200");
}

static void a_stream_that_is_behind_is_not_ready(void **state)
{
    (void)state;
    start_drainer();
    story_publish(0, "okx", story_order_lines(1, 1));
    story_await_drained();
    fixture_postgres_pause(story_postgres);
    story_publish(0, "okx", story_order_lines(2, 10));
    await_sample("blotter_stream_pending{stream=\"blotter:okx\"}", 1, 12);
    await_answer("/readyz", "503");
    story_assert_says(get("/readyz"), "blotter:okx: ");
    assert_true(sample("blotter_stream_oldest_seconds{stream=\"blotter:okx\"}") > 1);
    assert_true(answers("/healthz", "200"));
    fixture_postgres_resume(story_postgres);
    await_answer("/readyz", "200");
    story_await_drained();
}

static void a_lost_server_is_not_ready(void **state)
{
    (void)state;
    start_drainer();
    fixture_redis_stop(story_redis, SIGTERM);
    await_answer("/readyz", "503");
    story_assert_says(get("/readyz"), "redis: not connected");
    assert_true(answers("/healthz", "200"));
    assert_true(sample("blotter_redis_up") == 0);
    fixture_redis_start_again(story_redis);
    await_answer("/readyz", "200");
    fixture_postgres_stop(story_postgres, FIXTURE_FAST);
    await_answer("/readyz", "503");
    story_assert_says(get("/readyz"), "postgres: not connected");
    fixture_postgres_start_again(story_postgres);
    await_answer("/readyz", "200");
}

static void loading_that_needs_a_person_is_not_ready_and_says_why(void **state)
{
    (void)state;
    start_drainer();
    await_answer("/readyz", "200");
    story_sql("ALTER TABLE blotter_internal.progress RENAME TO progress_away");
    story_publish(0, "okx", story_order_lines(1, 1));
    await_answer("/readyz", "503");
    story_assert_says(get("/readyz"), "SQLSTATE 42P01; this needs a person");
    story_sql("ALTER TABLE blotter_internal.progress_away RENAME TO progress");
    await_answer("/readyz", "200");
    story_await_drained();
}

static void strange_requests_do_not_hurt(void **state)
{
    static const char zeros[256];
    char *long_path = fixture_alloc(20000);

    (void)state;
    start_drainer();
    memset(long_path, 'a', 19999);
    ask_raw(zeros, sizeof zeros);
    ask_raw("\r\n\r\n", 4);
    assert_false(answers(fixture_format("/%s", long_path), "200"));
    assert_true(answers("/nothing", "404"));
    const char *post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: "
                       "999999999\r\nConnection: close\r\n\r\n";
    assert_null(strstr(ask_raw(post, strlen(post)), " 200 "));
    assert_true(answers("/healthz", "200"));
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
}

/* --- connections that do not behave --- */

enum { HELD_MAX = 256 };
static int held[HELD_MAX];

/* Connects and sends the beginning of a request. */
static int connect_and_begin(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    send(fd, "GET ", 4, MSG_NOSIGNAL);
    return fd;
}

static int count_descriptors(pid_t pid)
{
    const char *path = fixture_format("/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    int count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* A connection that sends a byte now and then never times out on a read. */
static void slow_connections_take_neither_descriptors_nor_time(void **state)
{
    (void)state;
    start_drainer();
    int before = count_descriptors(fixture_program_pid(drainer));
    for (int i = 0; i < HELD_MAX; i++) {
        held[i] = connect_and_begin();
        if (i % 16 == 0) {
            assert_true(answers("/healthz", "200"));
        }
    }
    assert_true(answers("/healthz", "200"));
    assert_true(count_descriptors(fixture_program_pid(drainer)) <= before + 33);

    int64_t began = fixture_now_ms();
    bool open = true;
    while (open && fixture_now_ms() - began < STORY_TIMEOUT_MS) {
        char byte;

        send(held[HELD_MAX - 1], "x", 1, MSG_NOSIGNAL);
        open = recv(held[HELD_MAX - 1], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        fixture_sleep_ms(50);
    }
    assert_false(open);
    assert_true(fixture_now_ms() - began < 8000 * fixture_slower());
    for (int i = 0; i < HELD_MAX; i++) {
        close(held[i]);
    }
}

static bool lacks_descriptors(void *arg)
{
    (void)arg;
    return strstr(fixture_program_stderr(drainer), "cannot accept a connection") != NULL;
}

static bool is_ready(void *arg)
{
    (void)arg;
    return answers("/readyz", "200");
}

static void without_descriptors_it_logs_little_and_comes_back(void **state)
{
    (void)state;
    port = fixture_free_port();
    const char *command =
        fixture_format("ulimit -n 32; exec %s drain --metrics %d", fixture_blotter(), port);
    const char *const argv[] = {"sh", "-c", command, NULL};
    drainer = story_start_program(argv, NULL);
    await_answer("/readyz", "200");
    for (int i = 0; i < 48; i++) {
        held[i] = connect_and_begin();
    }
    assert_true(fixture_wait_until(lacks_descriptors, NULL, STORY_TIMEOUT_MS));
    for (int i = 0; i < 48; i++) {
        close(held[i]);
    }
    assert_true(fixture_wait_until(is_ready, NULL, STORY_TIMEOUT_MS));
    story_publish(0, "okx", story_order_lines(1, 10));
    story_await_drained();
    int lines = 0;
    for (const char *at = fixture_program_stderr(drainer);
         (at = strstr(at, "cannot accept")) != NULL; at++) {
        lines++;
    }
    assert_in_range(lines, 1, 3);
}

static void a_wrong_address_is_named(void **state)
{
    static const char *const wrong[] = {"127.0.0.1",     "127.0.0.1:0", "127.0.0.1:65536",
                                        "127.0.0.1:90x", ":",           "[::1"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        story_assert_says(fixture_program_stderr(story_run(2, "drain", "--metrics", wrong[i])),
                          "setting metrics");
    }
    start_drainer();
    const char *taken = fixture_format("127.0.0.1:%d", port);
    story_assert_says(fixture_program_stderr(story_run(2, "drain", "--metrics", taken)), "in use");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)
    const struct CMUnitTest tests[] = {
        TEST(the_numbers_are_those_of_what_was_loaded),
        TEST(who_holds_which_stream_is_told_by_each_drainer),
        TEST(a_stream_that_is_behind_is_not_ready),
        TEST(a_lost_server_is_not_ready),
        TEST(loading_that_needs_a_person_is_not_ready_and_says_why),
        TEST(strange_requests_do_not_hurt),
        TEST(slow_connections_take_neither_descriptors_nor_time),
        TEST(without_descriptors_it_logs_little_and_comes_back),
        TEST(a_wrong_address_is_named),
    };
    return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
