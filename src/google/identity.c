/* identity.c - reads a Google credentials file (or names the metadata server) and says clearly what is wrong with it.
 *
 * Two kinds of files are understood: service_account and authorized_user. Secrets go from json-c straight into struct
 * secret or an EVP_PKEY; no message ever quotes a member other than type and token_uri. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/json.h"
#include "credentials_internal.h"

#define DEFAULT_TOKEN_URL "https://oauth2.googleapis.com/token"
#define DEFAULT_METADATA_HOST "metadata.google.internal"
#define METADATA_TOKEN_PATH                                                                                            \
    "/computeMetadata/v1/instance/service-accounts/default/token?scopes=https://www.googleapis.com/auth/"              \
    "cloud-platform"
enum { CREDENTIALS_MAX_FILE_BYTES = 64 * 1024, CREDENTIALS_MAX_HOST = 200, RSA_MIN_BITS = 2048 };

static bool refuse(struct error *err, const char *path, const char *reason)
{
    return error_set(err, ERROR_PERMANENT, "credentials_file", "cannot use the credentials file \"%s\": %s", path,
                     reason);
}

/* A string member that must be there; only its name gets into the error. */
static const char *need_text(struct json_object *file, const char *name, const char *path, struct error *err)
{
    struct json_object *member = json_at(file, name);
    const char *text = json_object_is_type(member, json_type_string) ? json_object_get_string(member) : "";
    if (*text)
        return text;
    error_set(err, ERROR_PERMANENT, "credentials_file",
              "cannot use the credentials file \"%s\": \"%s\" is missing or not a text", path, name);
    return NULL;
}

/* An encrypted key must not make OpenSSL ask for a pass phrase on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *user)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)user;
    return -1;
}

static EVP_PKEY *parse_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static bool load_key(struct identity *id, const char *pem, const char *path, struct error *err)
{
    id->key = parse_key(pem);
    if (!id->key)
        return error_set(err, ERROR_PERMANENT, "credentials_key",
                         "cannot read the private key in \"%s\": it is not an unencrypted PEM key", path);
    if (EVP_PKEY_base_id(id->key) != EVP_PKEY_RSA || EVP_PKEY_bits(id->key) < RSA_MIN_BITS)
        return error_set(err, ERROR_PERMANENT, "credentials_key",
                         "cannot use the private key in \"%s\": it is not an RSA key of at least %d bits", path,
                         (int)RSA_MIN_BITS);
    return true;
}

static bool load_token_url(struct identity *id, struct json_object *file, const char *path, struct error *err)
{
    const char *url = json_text_at(file, "token_uri", DEFAULT_TOKEN_URL);
    const char *refusal = http_url_refusal(url);
    if (refusal)
        return error_set(err, ERROR_PERMANENT, "credentials_file",
                         "cannot use the credentials file \"%s\": token_uri \"%s\": %s", path, url, refusal);
    id->token_url = xstrdup(url);
    return true;
}

static bool load_service_account(struct identity *id, struct json_object *file, const char *path, struct error *err)
{
    const char *email = need_text(file, "client_email", path, err);
    const char *pem = email ? need_text(file, "private_key", path, err) : NULL;
    const char *key_id = json_text_at(file, "private_key_id", NULL);
    if (!pem || !load_key(id, pem, path, err))
        return false;
    id->email = xstrdup(email);
    id->key_id = key_id ? xstrdup(key_id) : NULL;
    id->description = xasprintf("service account %s", email);
    return true;
}

static bool load_authorized_user(struct identity *id, struct json_object *file, const char *path, struct error *err)
{
    const char *client_id = need_text(file, "client_id", path, err);
    const char *client_secret = client_id ? need_text(file, "client_secret", path, err) : NULL;
    const char *refresh_token = client_secret ? need_text(file, "refresh_token", path, err) : NULL;
    if (!refresh_token)
        return false;
    id->client_id = xstrdup(client_id);
    id->client_secret = secret_new(slice_str(client_secret));
    id->refresh_token = secret_new(slice_str(refresh_token));
    id->description = xstrdup("authorised user");
    return true;
}

static const struct {
    const char *type;
    enum identity_kind kind;
    bool (*load)(struct identity *id, struct json_object *file, const char *path, struct error *err);
} kinds[] = {
    {"service_account", IDENTITY_SERVICE_ACCOUNT, load_service_account},
    {"authorized_user", IDENTITY_AUTHORIZED_USER, load_authorized_user},
};

static bool load_by_type(struct identity *id, struct json_object *file, const char *path, struct error *err)
{
    const char *type = need_text(file, "type", path, err);
    if (!type)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].type, type) != 0)
            continue;
        id->kind = kinds[i].kind;
        return load_token_url(id, file, path, err) && kinds[i].load(id, file, path, err);
    }
    return error_set(
        err, ERROR_PERMANENT, "credentials_file",
        "cannot use the credentials file \"%s\": its type is \"%.64s\", not service_account or authorized_user", path,
        type);
}

bool identity_load(struct identity *id, const char *path, struct error *err)
{
    struct json_object *file = json_load_file(path, CREDENTIALS_MAX_FILE_BYTES, err);
    if (!file)
        return error_prefix(err, "cannot use the credentials file \"%s\"", path);
    bool ok = json_object_is_type(file, json_type_object) ? load_by_type(id, file, path, err)
                                                          : refuse(err, path, "it is not a JSON object");
    json_object_put(file);
    return ok;
}

bool identity_metadata(struct identity *id, struct error *err)
{
    const char *named = getenv("GCE_METADATA_HOST");
    const char *host = named && *named ? named : DEFAULT_METADATA_HOST;
    if (strlen(host) > CREDENTIALS_MAX_HOST || strpbrk(host, "/?#@ "))
        return error_set(err, ERROR_PERMANENT, "credentials_metadata",
                         "cannot use GCE_METADATA_HOST \"%.64s\": it is not of the form host or host:port", host);
    id->kind = IDENTITY_METADATA;
    id->token_url = xasprintf("http://%s%s", host, METADATA_TOKEN_PATH);
    id->description = xstrdup("metadata server");
    return true;
}

void identity_release(struct identity *id)
{
    free(id->description);
    free(id->token_url);
    free(id->email);
    free(id->key_id);
    EVP_PKEY_free(id->key);
    free(id->client_id);
    secret_unref(id->client_secret);
    secret_unref(id->refresh_token);
    *id = (struct identity){.kind = IDENTITY_NONE};
}
