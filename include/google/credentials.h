/* credentials.h - OAuth2 access tokens for Google APIs: one source for REST and gRPC.
 *
 * Order: an emulator (none needed) -> GOOGLE_APPLICATION_CREDENTIALS file (service_account: signed JWT, RS256, exchanged at token_uri;
 * authorized_user: refresh token) -> the gcloud well-known file -> metadata server (GCE_METADATA_HOST or metadata.google.internal,
 * plaintext link-local by definition). Tokens are cached, renewed 5 minutes ahead by whoever asks first, shared by all threads. */
#ifndef ST_GOOGLE_CREDENTIALS_H
#define ST_GOOGLE_CREDENTIALS_H

#include "base/cancel.h"
#include "base/secret.h"

struct google_credentials;

/* Reads and checks the file (or finds that the metadata server is to be asked); no network. `path` NULL or "": search as above. */
struct google_credentials *google_credentials_new(const char *path, struct error *err) MUST_CHECK;
/* For emulators: google_credentials_token returns an empty secret and nothing is sent. */
struct google_credentials *google_credentials_none(void);
void google_credentials_free(struct google_credentials *creds);
bool google_credentials_is_none(const struct google_credentials *creds);
/* A token good for at least a minute; *ret is a new reference (secret_unref). May block on the network; thread-safe. */
bool google_credentials_token(struct google_credentials *creds, struct cancel *cancel, struct secret **ret,
                              struct error *err) MUST_CHECK;
/* A 401 / UNAUTHENTICATED came back with this token: the next call fetches a new one. */
void google_credentials_refused(struct google_credentials *creds, const struct secret *token);
/* "service account a@b", "authorised user", "metadata server", "none": for doctor and logs. */
const char *google_credentials_describe(const struct google_credentials *creds);

#endif
