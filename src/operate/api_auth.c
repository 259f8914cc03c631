/* api_auth.c - a bearer token; without one, publishing is for this machine's own programs.
 *
 * "This machine" is a connection from 127.0.0.0/8 or ::1 that no proxy has passed on: where a proxy stands before us (Cloud Run's front
 * end is seen as 169.254.x.x), its address says nothing of the caller, and X-Forwarded-For is whatever the caller wrote, so it is never
 * believed; but that it is there tells of a proxy. A web page in a browser on this machine is no program of ours either: it is known by the
 * headers that browsers add, and one that made its own name point to 127.0.0.1 by the Host it still asks for. */
#include "api_auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

static const char open_options[] =
    "set API_TOKEN and send it as a bearer token, or set API_ALLOW_UNAUTHENTICATED=true where something else "
    "authenticates callers";

static void digest_of(struct slice text, unsigned char out[API_DIGEST_BYTES])
{
    if (EVP_Digest(text.len > 0 ? text.ptr : "", text.len, out, NULL, EVP_sha256(), NULL) != 1)
        BUG("SHA-256 is not there");
}

bool api_auth_init(struct api_auth *auth, const struct settings *s, struct error *err)
{
    struct slice token = secret_reveal(s->api_token);
    *auth = (struct api_auth){.has_token = !secret_is_empty(s->api_token),
                              .allow_unauthenticated = s->api_allow_unauthenticated};
    if (auth->has_token && token.len < API_TOKEN_MIN_BYTES)
        return error_set(
            err, ERROR_PERMANENT, "config",
            "API_TOKEN has %zu characters: at least %d are needed, best random ones (openssl rand -hex 32)", token.len,
            API_TOKEN_MIN_BYTES);
    if (auth->has_token && auth->allow_unauthenticated)
        return error_set(err, ERROR_PERMANENT, "config",
                         "API_TOKEN is set and API_ALLOW_UNAUTHENTICATED is true: only one of them can hold");
    if (auth->has_token)
        digest_of(token, auth->digest);
    return true;
}

static struct slice bearer(const char *authorization)
{
    struct slice rest = slice_str(authorization), scheme = slice_cut(&rest, ' ');
    return slice_eq_nocase(scheme, SLICE_LIT("Bearer")) ? slice_trim(rest) : SLICE_NULL;
}

bool api_auth_token(const struct api_auth *auth, const struct api_route *route, const struct api_caller *caller,
                    struct api_refusal *refusal)
{
    unsigned char digest[API_DIGEST_BYTES];
    if (!auth->has_token || (route && route->open))
        return true;
    digest_of(bearer(caller->authorization ? caller->authorization : ""), digest);
    if (CRYPTO_memcmp(digest, auth->digest, sizeof digest) == 0)
        return true;
    return api_refuse(refusal, 401, "unauthorized", "%s; send 'Authorization: Bearer TOKEN' with the API_TOKEN",
                      caller->authorization ? "the bearer token is not the right one" : "a bearer token is needed");
}

/* "localhost", "127.0.0.1:8080", "[::1]:8080" */
static bool is_loopback_host(const char *host)
{
    struct slice rest = slice_str(host), name = rest;
    if (slice_starts_with(rest, SLICE_LIT("[::1]")))
        return rest.len == 5 || rest.ptr[5] == ':';
    name = slice_cut(&rest, ':');
    if (slice_eq_nocase(name, SLICE_LIT("localhost")))
        return true;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] != '.' && (name.ptr[i] < '0' || name.ptr[i] > '9'))
            return false;
    return slice_starts_with(name, SLICE_LIT("127."));
}

static bool is_web_page(const struct api_caller *caller)
{
    const char *site = caller->fetch_site;
    return caller->origin || caller->referer || (site && strcmp(site, "none") != 0);
}

bool api_auth_publish(const struct api_auth *auth, const struct api_caller *caller, struct api_refusal *refusal)
{
    if (auth->has_token || auth->allow_unauthenticated)
        return true;
    if (!caller->loopback)
        return api_refuse(refusal, 403, "forbidden", "without a token only this machine may start an ingestion; %s",
                          open_options);
    if (caller->forwarded)
        return api_refuse(refusal, 403, "forbidden",
                          "the request comes through a proxy, and without a token only this machine itself may start "
                          "an ingestion; %s",
                          open_options);
    if (is_web_page(caller) || !caller->host || !is_loopback_host(caller->host))
        return api_refuse(refusal, 403, "forbidden",
                          "the request comes from a web page or asks for another host, and without a token only this "
                          "machine's own programs may start an ingestion; %s",
                          open_options);
    return true;
}
