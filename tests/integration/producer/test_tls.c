/* test_tls.c: rediss://. Where hiredis has TLS (Debian 13): everything works over it, whom it
 * should not trust is told nothing, and what is wrong is told with what to do. Where it has none
 * (Debian 12): that is said at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "producer/blotter.h"
#include "tests/fixture/certificates.h"
#include "tests/fixture/proxy.h"
#include "tests/fixture/story.h"

enum { BOUND_MS = 20000 }; /* connecting may take 10 s, as machines are busy */
#define USER_AND_PASSWORD "desk:s3cret-w0rd@"
enum {
    HOPELESS = 2,
    UNREACHABLE = 3,
};

enum { ATTEMPTS_MAX = 12 };

/* The three ways to Redis: the drainer's, the library's, and that of a command that asks and ends.
 */
static const char *const commands[] = {"drain", "publish", "status"};
enum { COMMANDS = sizeof commands / sizeof *commands };

struct attempt {
    const char *url, *word, *advice;
};

static struct fixture_program *try_with(const char *command, const char *url)
{
    const char *const environment[] = {fixture_format("BLOTTER_REDIS=%s", url),
                                       "BLOTTER_EXCHANGE=okx", "BLOTTER_CONNECT_TIMEOUT=10s", NULL};
    return story_start_program(
        STORY_ARGV(command), &(struct fixture_program_options){.environment = environment,
                                                               .input = "{\"order_id\": \"1\"}\n"});
}

static void assert_said(const struct attempt *attempt, const char *command,
                        struct fixture_program *program, int status)
{
    int ended_with = fixture_program_wait(program, BOUND_MS);
    const char *errors = fixture_program_stderr(program),
               *said = strstr(errors, fixture_format("blotter %s: ", command));
    if (ended_with != status || said == NULL || strstr(said, attempt->word) == NULL ||
        strstr(said, attempt->advice) == NULL || strstr(errors, "s3cret") != NULL) {
        fail_msg("blotter %s with %s: should end with %d, and say \"%s\" and \"%s\"; it said:\n%s",
                 command, attempt->url, status, attempt->word, attempt->advice, errors);
    }
}

/* Every command with each URL, all at once, as most of what they do is waiting: that exit status,
 * and a line on stderr that says what is wrong and what to do, without the password. */
static void assert_refused(int status, const struct attempt attempts[])
{
    struct fixture_program *programs[ATTEMPTS_MAX][COMMANDS];
    for (int i = 0; attempts[i].url != NULL; i++) {
        for (int j = 0; j < COMMANDS; j++) {
            programs[i][j] = try_with(commands[j], attempts[i].url);
        }
    }
    for (int i = 0; attempts[i].url != NULL; i++) {
        for (int j = 0; j < COMMANDS; j++) {
            assert_said(&attempts[i], commands[j], programs[i][j], status);
        }
    }
}
#define ASSERT_REFUSED(status, ...) \
    assert_refused(status, (const struct attempt[]){__VA_ARGS__, {NULL, NULL, NULL}})

#ifdef HAVE_HIREDIS_SSL

#define BOTH_LOOPBACKS "bind 127.0.0.1 -::1"

static const char *ours, *theirs; /* folders of certificates, each with an authority of its own */
static struct fixture_redis *secure;

static int begin(void **state)
{
    story_begin(state);
    if (!secure) {
        static const char *const past[] = {"20200101000000Z", "20200102000000Z"};
        ours = certificates_make("ours");
        theirs = certificates_make("theirs");
        certificates_issue(ours, "other-host", "DNS:redis.example,IP:192.0.2.1", NULL);
        certificates_issue(ours, "expired", "IP:127.0.0.1", past);
        secure = fixture_redis_start(
            &(struct fixture_redis_options){.tls = ours, .settings = BOTH_LOOPBACKS});
    }
    fixture_redis_run(secure, "FLUSHALL");
    fixture_redis_run(secure, "CONFIG RESETSTAT");
    story_use_redis(secure);
    setenv("BLOTTER_REDIS", fixture_redis_url(secure), 1);
    return 0;
}

/* A server with another certificate of ours than the usual one. */
static struct fixture_redis *server_as(const char *name)
{
    const char *settings = fixture_format(
        "tls-cert-file %s/%s.crt\ntls-key-file %s/%s.key\n" BOTH_LOOPBACKS, ours, name, ours, name);
    return fixture_redis_start(&(struct fixture_redis_options){.tls = ours, .settings = settings});
}

static const char *url_of(const struct fixture_redis *redis, const char *host, const char *query)
{
    return fixture_format("rediss://" USER_AND_PASSWORD "%s:%d%s", host, fixture_redis_port(redis),
                          query);
}

/* Neither the password nor anything else has come by the port with TLS. */
static void assert_nothing_was_sent(const struct fixture_redis *redis)
{
    const char *run = fixture_redis_run(redis, "INFO commandstats");
    static const char *const by_us[] = {"cmdstat_auth", "cmdstat_client", "cmdstat_xadd",
                                        "cmdstat_xgroup"};
    for (size_t i = 0; i < sizeof by_us / sizeof *by_us; i++) {
        if (strstr(run, by_us[i])) {
            fail_msg("something was sent:\n%s", run);
        }
    }
    assert_int_equal(fixture_redis_int(redis, "DBSIZE"), 0);
}

/* --- it works --- */

static void orders_are_stored_over_tls(void **state)
{
    (void)state;
    story_publish(0, "okx", story_order_lines(1, 100));
    assert_true(strstr(fixture_redis_run(secure, "INFO commandstats"), "cmdstat_xadd") != NULL);
    story_drain_once();
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 100);
    story_assert_says(story_audit(0), "complete");
    story_assert_says(fixture_program_stdout(story_run(0, "status")), "blotter:okx");
}

/* By name, which the certificate has to have; an authority of the system's is one of SSL_CERT_FILE.
 */
static void the_system_s_authorities_are_trusted_where_no_file_is_named(void **state)
{
    (void)state;
    const char *query = fixture_format("/0?cert=%s/client.crt&key=%s/client.key", ours, ours);
    const char *url =
        fixture_format("BLOTTER_REDIS=rediss://localhost:%d%s", fixture_redis_port(secure), query);
    const char *const environment[] = {url, fixture_format("SSL_CERT_FILE=%s/ca.crt", ours), NULL};
    const struct fixture_program_options options = {.environment = environment,
                                                    .input = story_order_lines(1, 10)};
    story_run_program(0, STORY_ARGV("publish", "--exchange", "okx"), &options);
    story_run_program(0, STORY_ARGV("drain", "--once"), &options);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 10);
}

static void a_connection_that_is_cut_comes_back(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(secure, true);
    setenv("BLOTTER_REDIS",
           fixture_format("%s%s", fixture_proxy_address(proxy), certificates_query(ours)), 1);
    struct fixture_program *drainer = story_drainer("d1");
    struct story_feed feed = story_feed("okx", "committed");
    for (int i = 1; i <= 5; i++) {
        story_feed_orders(&feed, 500);
        story_await_int(i * 500 - 400, "SELECT least(count(*), %d) FROM blotter.order_events",
                        i * 500 - 400);
        assert_true(fixture_proxy_cut(proxy) >= 2);
    }
    story_feed_end(&feed, 0);
    story_await_drained();
    assert_int_equal(fixture_program_stop(drainer, SIGTERM, STORY_TIMEOUT_MS), 0);
    assert_int_equal(story_int("SELECT count(*) FROM blotter.order_events"), 2500);
    story_assert_says(story_audit(0), "complete");
}

/* --- it does not --- */

static void who_cannot_be_trusted_is_told_nothing_and_the_user_what_to_do(void **state)
{
    (void)state;
    struct fixture_redis *other = server_as("other-host"), *expired = server_as("expired");
    const char *known = certificates_query(ours), *unknown = certificates_query(theirs);
    const char *host = "the URL's host has to be one that it names",
               *refused = "certificate is refused";
    ASSERT_REFUSED(UNREACHABLE, {url_of(secure, "127.0.0.1", unknown), refused, "?cacert=FILE"},
                   {url_of(secure, "localhost", ""), refused, "?cacert=FILE"},
                   {url_of(other, "127.0.0.1", known), "IP address mismatch", host},
                   {url_of(other, "localhost", known), "hostname mismatch", host},
                   {url_of(expired, "127.0.0.1", known), "expired", "renewed"});
    assert_nothing_was_sent(secure);
    assert_nothing_was_sent(other);
    assert_nothing_was_sent(expired);
    fixture_redis_kill9(other);
    fixture_redis_kill9(expired);
}

static void a_server_that_does_not_know_us_and_a_port_of_the_other_kind_are_told(void **state)
{
    (void)state;
    struct fixture_redis *plain = fixture_redis_start(&(struct fixture_redis_options){.tcp = true});
    const char *anonymous = fixture_format("?cacert=%s/ca.crt", ours);
    const char *stranger = fixture_format("%s&cacert=%s/ca.crt", certificates_query(theirs), ours);
    const char *without =
        fixture_format("redis://" USER_AND_PASSWORD "127.0.0.1:%d", fixture_redis_port(secure));
    ASSERT_REFUSED(
        UNREACHABLE,
        {url_of(secure, "127.0.0.1", anonymous), "the server refuses us", "?cert=FILE&key=FILE"},
        {url_of(secure, "127.0.0.1", stranger), "the server refuses us", "?cert=FILE&key=FILE"},
        {url_of(plain, "127.0.0.1", certificates_query(ours)), "no answer to the handshake",
         "the URL is redis://"},
        {without, "127.0.0.1", "the URL is rediss://"});
    assert_nothing_was_sent(secure);
    fixture_redis_kill9(plain);
}

/* A key with a passphrase is one of them: nobody is there to be asked for it. */
static void files_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    const char *known = certificates_query(ours), *text = fixture_format("%s/notes", ours),
               *locked = fixture_format("%s/locked", ours);
    const char *key = fixture_format("%s/client.key", ours);
    const char *const lock[] = {"openssl",  "pkcs8",     "-topk8", "-in",  key,
                                "-passout", "pass:word", "-out",   locked, NULL};
    assert_int_equal(fixture_run(lock, NULL, BOUND_MS, NULL), 0);
    fixture_write_file(text, "no certificate\n");
    ASSERT_REFUSED(
        HOPELESS,
        {url_of(secure, "127.0.0.1", fixture_format("?cacert=%s/nobody.crt", ours)), "nobody.crt",
         "No such file"},
        {url_of(secure, "127.0.0.1", fixture_format("?cacert=%s", text)), "cacert", "notes"},
        {url_of(secure, "127.0.0.1", fixture_format("%s&key=%s/client.key", known, theirs)),
         "client.key", "values mismatch"},
        {url_of(secure, "127.0.0.1", fixture_format("%s&key=%s", known, locked)), "TLS: key",
         "locked"});
    assert_nothing_was_sent(secure);
}

#define TESTS                                                                       \
    TEST(orders_are_stored_over_tls),                                               \
        TEST(the_system_s_authorities_are_trusted_where_no_file_is_named),          \
        TEST(a_connection_that_is_cut_comes_back),                                  \
        TEST(who_cannot_be_trusted_is_told_nothing_and_the_user_what_to_do),        \
        TEST(a_server_that_does_not_know_us_and_a_port_of_the_other_kind_are_told), \
        TEST(files_that_cannot_be_used_are_named)

#else

#define begin story_begin

/* The proxy counts who connects. */
static void without_tls_every_command_says_so_and_connects_to_nobody(void **state)
{
    (void)state;
    struct fixture_proxy *proxy = fixture_proxy_redis(story_redis, true);
    const char *place = strstr(fixture_proxy_address(proxy), "127.0.0.1");
    ASSERT_REFUSED(
        HOPELESS,
        {fixture_format("rediss://" USER_AND_PASSWORD "%s/0?cacert=/etc/ssl/ca.crt", place),
         "rediss:// needs TLS, which this build has not", "build it on Debian 13"});
    assert_int_equal(fixture_proxy_counts(proxy).connections, 0);
}

static void without_tls_the_library_says_so(void **state)
{
    (void)state;
    blotter_producer *producer = NULL;
    struct blotter_options options = {.exchange = "okx",
                                      .journal = story_journals(),
                                      .redis = "rediss://" USER_AND_PASSWORD "127.0.0.1"};
    assert_int_not_equal(blotter_open(&producer, &options), BLOTTER_OK);
    assert_null(producer);
    story_assert_says(blotter_open_error(), "rediss:// needs TLS, which this build has not");
    assert_null(strstr(blotter_open_error(), "s3cret"));
}

#define TESTS                                                       \
    TEST(without_tls_every_command_says_so_and_connects_to_nobody), \
        TEST(without_tls_the_library_says_so)

#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, story_end)
    static const struct CMUnitTest tests[] = {TESTS};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
