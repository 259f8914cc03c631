/* st-local: Pub/Sub, BigQuery and ServiceTitan on loopback, in one process. Starts them, says where they are, waits for
 * SIGTERM or SIGINT, stops them. Signals are blocked before any thread starts, so that every thread inherits it and
 * only sigwait sees them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "local/local_stack.h"
#include "base/log.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            text = slice_of(text.ptr + n, text.len - (size_t)n);
    }
    return true;
}

/* Readers see the old file or the whole new one. The settings hold test secrets only, yet nobody else needs to read
 * them. */
static bool write_env_file(const char *path, struct slice text, struct error *err)
{
    char *part = xasprintf("%s.%ld.part", path, (long)getpid());
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, text) && fsync(fd) == 0;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    ok = ok && rename(part, path) == 0;
    if (!ok) {
        error_errno(err, errno, "could not write the settings to \"%s\"", path);
        unlink(part);
    }
    free(part);
    return ok;
}

static bool announce(const struct local_options *options, const struct local_stack *stack, struct error *err)
{
    struct buf text = BUF_INIT;
    local_stack_exports(stack, &text);
    bool ok = !options->env_file || write_env_file(options->env_file, buf_slice(&text), err);
    if (ok) {
        buf_append_str(&text, "# ready\n");
        ok = write_all(STDOUT_FILENO, buf_slice(&text)) || error_errno(err, errno, "could not print the settings");
    }
    buf_release(&text);
    return ok;
}

static int complain(const struct error *err, int exit_code)
{
    fprintf(stderr, "st-local: %s\n", err->message);
    return exit_code;
}

static int run(const struct local_options *options, const sigset_t *signals)
{
    struct error err = ERROR_INIT;
    int signal_number;
    struct local_stack *stack = local_stack_start(options, &err);
    if (!stack)
        return complain(&err, EXIT_FAILED);
    bool ok = announce(options, stack, &err);
    if (ok)
        sigwait(signals, &signal_number);
    local_stack_stop(stack);
    return ok ? 0 : complain(&err, EXIT_FAILED);
}

int main(int argc, char **argv)
{
    struct local_options options;
    struct error err = ERROR_INIT;
    enum log_level level;
    sigset_t signals;
    if (!local_options_parse(&options, argc, argv, &err))
        return complain(&err, EXIT_USAGE);
    if (options.help) {
        struct buf text = BUF_INIT;
        local_options_help(&text);
        fputs(buf_cstr(&text), stdout);
        buf_release(&text);
        return 0;
    }
    if (!log_level_parse(options.log_level, &level)) {
        error_set(&err, ERROR_PERMANENT, "usage", "bad value \"%s\" for --log-level", options.log_level);
        return complain(&err, EXIT_USAGE);
    }
    log_set_level(level);
    setenv("GRPC_VERBOSITY", "NONE", 0); /* the core's own chatter; what matters comes as an error */
    block_signals(&signals);
    return run(&options, &signals);
}
