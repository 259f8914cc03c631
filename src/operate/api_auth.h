/* api_auth.h - who may call what. Pure decisions over what is known of a caller. */
#ifndef ST_OPERATE_API_AUTH_H
#define ST_OPERATE_API_AUTH_H

#include "api_request.h"
#include "dispatch/settings.h"

enum { API_TOKEN_MIN_BYTES = 16, API_DIGEST_BYTES = 32 };

struct api_auth {
    bool has_token, allow_unauthenticated;
    unsigned char digest[API_DIGEST_BYTES]; /* of the token: comparing digests tells neither content nor length */
};

struct api_caller { /* header values, NULL when absent */
    bool loopback;  /* the peer of the connection; a proxy's address when there is one in between */
    const char *authorization, *host, *origin, *referer, *fetch_site;
    const char *forwarded; /* the value of any header that only a proxy adds */
};

/* False: the settings contradict each other or the token is too short (code "config"). */
bool api_auth_init(struct api_auth *auth, const struct settings *settings, struct error *err) MUST_CHECK;
/* The bearer token, where one is set. False: 401. */
bool api_auth_token(const struct api_auth *auth, const struct api_route *route, const struct api_caller *caller,
                    struct api_refusal *refusal) MUST_CHECK;
/* Without a token: who may publish. False: 403. */
bool api_auth_publish(const struct api_auth *auth, const struct api_caller *caller,
                      struct api_refusal *refusal) MUST_CHECK;

#endif
