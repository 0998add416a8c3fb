/* web_child.c: see web_child.h. */
#include "drainer/web/web_child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "drainer/log.h"
#include "drainer/memory.h"
#include "drainer/self_spawn.h"
#include "producer/timer.h"

enum { RESTART_MIN_S = 1, RESTART_MAX_S = 64, STEADY_S = 60 };

struct web_child {
    const struct settings *settings;
    struct event *died, *restart;
    pid_t pid; /* 0: it does not run */
    int pause_s;
    struct timeval started;
    struct event_base *base;
};

static void web_child_spawn(struct web_child *child)
{
    char *const argv[] = {"blotter", "web", NULL};
    pid_t pid = self_spawn(child->settings, COMMAND_WEB, argv, -1, -1);
    child->pid = pid < 0 ? 0 : pid;
    event_base_gettimeofday_cached(child->base, &child->started);
    if (pid < 0) {
        log_warn("web", "cannot start blotter web: %s", strerror(errno));
    }
}

static void web_child_on_restart(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    web_child_spawn(arg);
}

static void on_web_child_died(evutil_socket_t fd, short what, void *arg)
{
    struct web_child *child = arg;
    struct timeval now;
    int status;
    (void)fd, (void)what;
    if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid) {
        return;
    }
    child->pid = 0;
    event_base_gettimeofday_cached(child->base, &now);
    bool steady = now.tv_sec - child->started.tv_sec >= STEADY_S;
    child->pause_s = steady                               ? RESTART_MIN_S
                     : child->pause_s * 2 > RESTART_MAX_S ? RESTART_MAX_S
                                                          : child->pause_s * 2;
    log_warn("web", "blotter web ended with %s %d: started again in %d s, loading goes on",
             WIFSIGNALED(status) ? "signal" : "exit status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), child->pause_s);
    timer_start(child->restart, child->pause_s * 1000);
}

struct web_child *web_child_start(struct event_base *base, const struct settings *settings)
{
    struct web_child *child = memory_or_abort(calloc(1, sizeof *child));
    *child = (struct web_child){.settings = settings, .pause_s = RESTART_MIN_S, .base = base};
    child->restart = evtimer_new(base, web_child_on_restart, child);
    child->died = evsignal_new(base, SIGCHLD, on_web_child_died, child);
    evsignal_add(child->died, NULL);
    web_child_spawn(child);
    return child;
}

void web_child_end(struct web_child *child)
{
    if (child == NULL) {
        return;
    }
    event_free(child->died);
    event_free(child->restart);
    if (child->pid > 0) {
        kill(child->pid, SIGTERM);
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    free(child);
}
