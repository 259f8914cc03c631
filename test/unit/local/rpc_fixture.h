/* rpc_fixture.h - what tests of the local gRPC services share: a client's link to a port, and faults. */
#ifndef ST_TEST_RPC_FIXTURE_H
#define ST_TEST_RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "../../../src/local/faults.h"
#include "google/grpc.h"

/* Plaintext, without credentials; free the link first. */
static inline struct grpc_link *link_to(uint16_t port, struct google_credentials **ret_none)
{
    struct error err = ERROR_INIT;
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%u", port);
    *ret_none = google_credentials_none();
    struct grpc_link *link = grpc_link_new(target, true, *ret_none, &err);
    if (!link)
        fail_msg("%s: %s", target, err.message);
    return link;
}

/* Arms a rule; returns its id. */
static inline int64_t arm(struct faults *faults, const char *rule)
{
    struct error err = ERROR_INIT;
    int64_t id = 0;
    struct json_object *json = json_parse(slice_str(rule), "rule", &err);
    if (!json || !faults_add(faults, json, &id, &err))
        fail_msg("%s: %s", rule, err.message);
    json_object_put(json);
    return id;
}

#endif
