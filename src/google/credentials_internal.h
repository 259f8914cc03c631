/* credentials_internal.h - who we are (read once from a file), apart from the tokens that follow from it. */
#ifndef ST_GOOGLE_CREDENTIALS_INTERNAL_H
#define ST_GOOGLE_CREDENTIALS_INTERNAL_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/secret.h"
#include "net/http.h"

enum identity_kind { IDENTITY_NONE, IDENTITY_SERVICE_ACCOUNT, IDENTITY_AUTHORIZED_USER, IDENTITY_METADATA };

struct identity {
    enum identity_kind kind;
    char *description; /* "service account a@b" */
    char *token_url;   /* where tokens are fetched; NULL for NONE */
    /* service account */
    char *email;
    char *key_id; /* NULL when the file has none */
    EVP_PKEY *key;
    /* authorised user */
    char *client_id;
    struct secret *client_secret;
    struct secret *refresh_token;
};

/* Fills a zeroed identity from a credentials file; released by the caller in any case. */
bool identity_load(struct identity *id, const char *path, struct error *err) MUST_CHECK;
/* The metadata server of GCE_METADATA_HOST or the usual one. */
bool identity_metadata(struct identity *id, struct error *err) MUST_CHECK;
void identity_release(struct identity *id);

/* A signed assertion for the token endpoint, valid for an hour from `now_us`; appended to `out`, which the caller
 * wipes. */
bool identity_sign_jwt(const struct identity *id, int64_t now_us, struct buf *out, struct error *err) MUST_CHECK;

/* One exchange with the token endpoint. *ret_lifetime_s is at least 1. */
bool identity_fetch_token(const struct identity *id, struct http_client *client, struct cancel *cancel,
                          struct secret **ret, int64_t *ret_lifetime_s, struct error *err) MUST_CHECK;

#endif
