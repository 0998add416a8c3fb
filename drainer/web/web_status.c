/* web_status.c: see web_status.h. The child is this program again, so the streams are counted in
 * one place, and a Redis that hangs holds up no answer of the page. It prints one line of JSON a
 * second. */
#include "drainer/web/web_status.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/self_spawn.h"
#include "producer/timer.h"

/* A line has 200 bytes for a stream, and is not read on from where it reaches the limit. */
enum { LINE_MAX_BYTES = 8 * 1024 * 1024, RESTART_MS = 2000, TROUBLE_BYTES = 256 };

struct web_status {
    struct event_base *base;
    const struct settings *settings;
    struct bufferevent *out, *err;
    struct event *restart;
    pid_t child;
    bool followed;
    char *json;
    char trouble[TROUBLE_BYTES];
};

static void status_start(struct web_status *status);
static void on_gone(struct bufferevent *, short, void *);

static void status_end(struct web_status *status)
{
    if (status->out != NULL) {
        bufferevent_free(status->out);
        bufferevent_free(status->err);
        status->out = status->err = NULL;
    }
    if (status->child > 0) {
        kill(status->child, SIGKILL); /* it changes nothing, so it may end anywhere */
        while (waitpid(status->child, NULL, 0) < 0 && errno == EINTR) {
        }
        status->child = 0;
    }
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
    struct web_status *status = arg;
    (void)fd, (void)what;
    if (status->followed && status->child == 0) {
        status_start(status);
    }
}

static void on_out(struct bufferevent *out, void *arg)
{
    struct web_status *status = arg;
    char *line;
    while ((line = evbuffer_readln(bufferevent_get_input(out), NULL, EVBUFFER_EOL_LF)) != NULL) {
        free(status->json);
        status->json = line;
        status->trouble[0] = '\0';
    }
    if (evbuffer_get_length(bufferevent_get_input(out)) >= LINE_MAX_BYTES) {
        snprintf(status->trouble, sizeof status->trouble, "too many streams for the page");
        on_gone(out, BEV_EVENT_ERROR, status);
    }
}

static void on_err(struct bufferevent *err, void *arg)
{
    struct web_status *status = arg;
    char *line;
    while ((line = evbuffer_readln(bufferevent_get_input(err), NULL, EVBUFFER_EOL_LF)) != NULL) {
        snprintf(status->trouble, sizeof status->trouble, "%s", line);
        free(line);
    }
}

static void on_gone(struct bufferevent *out, short what, void *arg)
{
    struct web_status *status = arg;
    (void)out, (void)what;
    on_err(status->err, status);
    if (status->trouble[0] == '\0') {
        snprintf(status->trouble, sizeof status->trouble, "blotter status has ended");
    }
    free(status->json);
    status->json = NULL;
    status_end(status);
    timer_start(status->restart, RESTART_MS);
}

static void on_err_gone(struct bufferevent *err, short what, void *arg)
{
    (void)what, (void)arg;
    bufferevent_disable(err, EV_READ);
}

static struct bufferevent *status_read(struct web_status *status, int fd,
                                       bufferevent_data_cb on_data, bufferevent_event_cb on_end)
{
    evutil_make_socket_nonblocking(fd);
    struct bufferevent *pipe =
        memory_or_abort(bufferevent_socket_new(status->base, fd, BEV_OPT_CLOSE_ON_FREE));
    bufferevent_setcb(pipe, on_data, NULL, on_end, status);
    bufferevent_setwatermark(pipe, EV_READ, 0, LINE_MAX_BYTES);
    bufferevent_enable(pipe, EV_READ);
    return pipe;
}

static pid_t status_spawn(struct web_status *status, int out, int err)
{
    char *const argv[] = {"blotter",    "status", "--json",      "--watch",
                          "--interval", "1s",     "--tables=no", NULL};
    pid_t child = self_spawn(status->settings, COMMAND_STATUS, argv, out, err);
    if (child < 0) {
        snprintf(status->trouble, sizeof status->trouble, "cannot run blotter status: %s",
                 strerror(errno));
        return 0;
    }
    return child;
}

static void status_start(struct web_status *status)
{
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) != 0) {
        log_warn("status", "pipe: %s", strerror(errno));
        return;
    }
    if (pipe2(err, O_CLOEXEC) != 0) {
        log_warn("status", "pipe: %s", strerror(errno));
        close(out[0]);
        close(out[1]);
        return;
    }
    status->child = status_spawn(status, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    status->err = status_read(status, err[0], on_err, on_err_gone);
    status->out = status_read(status, out[0], on_out, on_gone);
}

struct web_status *web_status_create(struct event_base *base, const struct settings *settings)
{
    struct web_status *status = memory_or_abort(calloc(1, sizeof *status));
    status->base = base;
    status->settings = settings;
    status->restart = evtimer_new(base, on_restart, status);
    return status;
}

void web_status_destroy(struct web_status *status)
{
    if (status == NULL) {
        return;
    }
    status_end(status);
    event_free(status->restart);
    free(status->json);
    free(status);
}

void web_status_follow(struct web_status *status, bool followed)
{
    if (followed == status->followed) {
        return;
    }
    status->followed = followed;
    if (followed) {
        on_restart(-1, 0, status);
    } else {
        status_end(status);
    }
}

const char *web_status_json(const struct web_status *status)
{
    return status->json == NULL ? "null" : status->json;
}

const char *web_status_trouble(const struct web_status *status)
{
    return status->json != NULL ? "" : status->trouble;
}
