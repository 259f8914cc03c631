#include "base/cancel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

struct hook {
    struct hook *next;
    uint64_t handle;
    void (*fn)(void *user);
    void *user;
};

struct cancel {
    struct cancel *parent;
    uint64_t parent_hook;
    atomic_bool set;
    pthread_mutex_t mutex;
    pthread_cond_t cond; /* set, or a hook has finished */
    struct hook *hooks;  /* removed from the list before it is called */
    uint64_t next_handle;
    uint64_t running; /* handle of the hook being called; 0 = none */
    pthread_t runner;
    char reason[64];
};

static void set_from_parent(void *user)
{
    struct cancel *cancel = user;
    cancel_set(cancel, cancel->parent->reason);
}

struct cancel *cancel_new(struct cancel *parent)
{
    struct cancel *cancel = xcalloc(1, sizeof *cancel);
    atomic_init(&cancel->set, false);
    pthread_mutex_init(&cancel->mutex, NULL);
    clock_cond_init(&cancel->cond);
    cancel->parent = parent;
    if (parent)
        cancel->parent_hook = cancel_add_hook(parent, set_from_parent, cancel);
    return cancel;
}

void cancel_free(struct cancel *cancel)
{
    if (!cancel)
        return;
    if (cancel->parent)
        cancel_remove_hook(cancel->parent, cancel->parent_hook);
    while (cancel->hooks) {
        struct hook *next = cancel->hooks->next;
        free(cancel->hooks);
        cancel->hooks = next;
    }
    pthread_cond_destroy(&cancel->cond);
    pthread_mutex_destroy(&cancel->mutex);
    free(cancel);
}

/* Calls the hooks one by one without the lock, so that they may take locks of their own. */
static void run_hooks(struct cancel *cancel)
{
    while (cancel->hooks) {
        struct hook *hook = cancel->hooks;
        cancel->hooks = hook->next;
        cancel->running = hook->handle;
        cancel->runner = pthread_self();
        pthread_mutex_unlock(&cancel->mutex);
        hook->fn(hook->user);
        free(hook);
        pthread_mutex_lock(&cancel->mutex);
        cancel->running = 0;
        pthread_cond_broadcast(&cancel->cond);
    }
}

void cancel_set(struct cancel *cancel, const char *reason)
{
    pthread_mutex_lock(&cancel->mutex);
    if (!atomic_load(&cancel->set)) {
        snprintf(cancel->reason, sizeof cancel->reason, "%s", reason);
        atomic_store(&cancel->set, true);
        pthread_cond_broadcast(&cancel->cond);
        run_hooks(cancel);
    }
    pthread_mutex_unlock(&cancel->mutex);
}

bool cancel_is_set(const struct cancel *cancel)
{
    return cancel && atomic_load(&cancel->set);
}

bool cancel_check(const struct cancel *cancel, struct error *err)
{
    if (!cancel_is_set(cancel))
        return true;
    return error_set(err, ERROR_CANCELLED, "cancelled", "cancelled: %s", cancel->reason);
}

bool cancel_sleep_ms(struct cancel *cancel, int64_t ms)
{
    struct cancel *own = cancel ? cancel : cancel_new(NULL);
    int64_t deadline = clock_mono_ms() + (ms > 0 ? ms : 0);
    pthread_mutex_lock(&own->mutex);
    while (!atomic_load(&own->set) && clock_mono_ms() < deadline)
        clock_cond_wait(&own->cond, &own->mutex, deadline);
    bool slept = !atomic_load(&own->set);
    pthread_mutex_unlock(&own->mutex);
    if (!cancel)
        cancel_free(own);
    return slept;
}

uint64_t cancel_add_hook(struct cancel *cancel, void (*fn)(void *user), void *user)
{
    struct hook *hook = xcalloc(1, sizeof *hook);
    pthread_mutex_lock(&cancel->mutex);
    uint64_t handle = ++cancel->next_handle;
    *hook = (struct hook){cancel->hooks, handle, fn, user};
    bool now = atomic_load(&cancel->set);
    if (!now)
        cancel->hooks = hook;
    pthread_mutex_unlock(&cancel->mutex);
    if (now) {
        fn(user);
        free(hook);
    }
    return handle;
}

static void unlink_hook(struct cancel *cancel, uint64_t handle)
{
    for (struct hook **at = &cancel->hooks; *at; at = &(*at)->next) {
        if ((*at)->handle == handle) {
            struct hook *gone = *at;
            *at = gone->next;
            free(gone);
            return;
        }
    }
}

void cancel_remove_hook(struct cancel *cancel, uint64_t handle)
{
    pthread_mutex_lock(&cancel->mutex);
    unlink_hook(cancel, handle);
    while (cancel->running == handle && !pthread_equal(cancel->runner, pthread_self()))
        pthread_cond_wait(&cancel->cond, &cancel->mutex);
    pthread_mutex_unlock(&cancel->mutex);
}
