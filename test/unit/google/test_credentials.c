/* Access tokens from a token endpoint on loopback: the signed assertion, caching, renewal, sharing, and what goes
 * wrong. The clock runs 2000 times as fast, so that an hour of a token passes in two seconds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "google/credentials.h"
#include "net/http.h"
#include "net/http_server.h"

enum { SCALE = 2000 };
#define REFRESH_TOKEN "1//refresh-marker-token"
#define CLIENT_SECRET "client-marker-secret"

struct bench {
    struct http_server *server;
    char token_url[64];
    EVP_PKEY *key;
    char *pem;
    pthread_mutex_t mutex; /* guards the rest */
    int calls;
    int status;   /* of the next replies */
    int failures; /* how many of them fail with `status`; -1: all */
    const char *reply;
    int lifetime_s;
    int delay_real_ms;
    struct buf body, path, flavor;
};

static void answer(struct bench *bench, struct http_exchange *x)
{
    char text[128];
    bool fails = bench->failures != 0;
    bench->failures -= bench->failures > 0;
    snprintf(text, sizeof text, "{\"access_token\":\"token-%d\",\"expires_in\":%d,\"token_type\":\"Bearer\"}",
             bench->calls, bench->lifetime_s);
    const char *body = bench->reply ? bench->reply : text;
    http_exchange_reply(x, fails ? bench->status : 200, "application/json", slice_str(body));
}

static void handle(void *user, struct http_exchange *x)
{
    struct bench *bench = user;
    const char *flavor = http_exchange_header(x, "Metadata-Flavor");
    pthread_mutex_lock(&bench->mutex);
    bench->calls++;
    buf_clear(&bench->body);
    buf_append_slice(&bench->body, http_exchange_body(x));
    buf_clear(&bench->path);
    buf_append_str(&bench->path, http_exchange_path(x));
    buf_clear(&bench->flavor);
    buf_append_str(&bench->flavor, flavor ? flavor : "");
    if (bench->delay_real_ms)
        usleep((useconds_t)bench->delay_real_ms * 1000);
    answer(bench, x);
    pthread_mutex_unlock(&bench->mutex);
}

static char *pem_of(EVP_PKEY *key)
{
    char *bytes;
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long len = BIO_get_mem_data(bio, &bytes);
    char *pem = xstrndup(bytes, (size_t)len);
    BIO_free(bio);
    return pem;
}

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    pthread_mutex_init(&bench->mutex, NULL);
    bench->lifetime_s = 3600;
    const struct http_server_options options = {
        .bind_address = "127.0.0.1", .handler_threads = 2, .handler = handle, .user = bench};
    bench->server = http_server_start(&options, &err);
    snprintf(bench->token_url, sizeof bench->token_url, "http://127.0.0.1:%d/token", http_server_port(bench->server));
    bench->key = EVP_RSA_gen(2048);
    bench->pem = pem_of(bench->key);
    unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
    unsetenv("GCE_METADATA_HOST");
    setenv("CLOUDSDK_CONFIG", "/nowhere", 1);
    *state = bench;
    return bench->server ? 0 : -1;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    http_server_stop(bench->server, 1000);
    EVP_PKEY_free(bench->key);
    free(bench->pem);
    buf_release(&bench->body);
    buf_release(&bench->path);
    buf_release(&bench->flavor);
    free(bench);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void write_service_account(struct bench *bench, const char *path)
{
    struct buf json = BUF_INIT;
    buf_append_str(
        &json, "{\"type\":\"service_account\",\"client_email\":\"a@b.iam\",\"private_key_id\":\"k1\",\"private_key\":");
    buf_append_json_string(&json, slice_str(bench->pem));
    buf_printf(&json, ",\"token_uri\":\"%s\"}", bench->token_url);
    write_file(path, buf_cstr(&json));
    buf_release(&json);
}

static void write_authorized_user(struct bench *bench, const char *path)
{
    struct buf json = BUF_INIT;
    buf_printf(&json,
               "{\"type\":\"authorized_user\",\"client_id\":\"c&id\",\"client_secret\":\"" CLIENT_SECRET
               "\",\"refresh_token\":\"" REFRESH_TOKEN "\",\"token_uri\":\"%s\"}",
               bench->token_url);
    write_file(path, buf_cstr(&json));
    buf_release(&json);
}

static struct google_credentials *service_account(struct bench *bench)
{
    struct error err = ERROR_INIT;
    write_service_account(bench, "key.json");
    struct google_credentials *creds = google_credentials_new("key.json", &err);
    assert_string_equal(err.message, "");
    assert_non_null(creds);
    return creds;
}

/* Asks for a token and says which one came, "" when none did. */
static char *token_text(struct google_credentials *creds, struct error *err)
{
    struct secret *token = NULL;
    *err = ERROR_INIT;
    if (!google_credentials_token(creds, NULL, &token, err))
        return xstrdup("");
    char *text = xstrdup(secret_reveal(token).ptr);
    secret_unref(token);
    return text;
}

#define ASSERT_TOKEN(creds, want)                                                                                      \
    do {                                                                                                               \
        struct error err_;                                                                                             \
        char *got_ = token_text((creds), &err_);                                                                       \
        assert_string_equal(got_, (want));                                                                             \
        free(got_);                                                                                                    \
    } while (0)

/* ---- The assertion ---- */

static struct buf decode_base64url(struct slice text)
{
    struct buf out = BUF_INIT;
    uint32_t bits = 0;
    int count = 0;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < text.len; i++) {
        const char *at = strchr(digits, text.ptr[i]);
        assert_non_null(at);
        bits = bits << 6 | (uint32_t)(at - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            buf_append_char(&out, (char)(bits >> count & 0xFF));
        }
    }
    return out;
}

static void verify_signature(EVP_PKEY *key, struct slice text, struct slice signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct buf raw = decode_base64url(signature);
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestVerify(ctx, (const unsigned char *)raw.ptr, raw.len, (const unsigned char *)text.ptr, text.len), 1);
    EVP_MD_CTX_free(ctx);
    buf_release(&raw);
}

static struct json_object *decode_json(struct slice part)
{
    struct error err = ERROR_INIT;
    struct buf text = decode_base64url(part);
    struct json_object *json = json_parse(buf_slice(&text), "part", &err);
    assert_non_null(json);
    buf_release(&text);
    return json;
}

static void a_service_account_sends_a_signed_assertion(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    const char *prefix = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    assert_string_equal(google_credentials_describe(creds), "service account a@b.iam");
    int64_t before_s = clock_wall_us() / 1000000;
    ASSERT_TOKEN(creds, "token-1");
    int64_t after_s = clock_wall_us() / 1000000;
    struct slice form = buf_slice(&bench->body);
    assert_true(slice_starts_with(form, slice_str(prefix)));
    struct slice jwt = slice_of(form.ptr + strlen(prefix), form.len - strlen(prefix)), rest = jwt;
    struct slice header = slice_cut(&rest, '.'), claims = slice_cut(&rest, '.');
    verify_signature(bench->key, slice_of(jwt.ptr, header.len + 1 + claims.len), rest);
    struct json_object *json = decode_json(header);
    assert_string_equal(json_text_at(json, "alg", ""), "RS256");
    assert_string_equal(json_text_at(json, "typ", ""), "JWT");
    assert_string_equal(json_text_at(json, "kid", ""), "k1");
    json_object_put(json);
    json = decode_json(claims);
    assert_string_equal(json_text_at(json, "iss", ""), "a@b.iam");
    assert_string_equal(json_text_at(json, "aud", ""), bench->token_url);
    assert_string_equal(json_text_at(json, "scope", ""), "https://www.googleapis.com/auth/cloud-platform");
    assert_in_range(json_int_at(json, "iat", 0), before_s, after_s);
    assert_int_equal(json_int_at(json, "exp", 0), json_int_at(json, "iat", 0) + 3600);
    json_object_put(json);
    google_credentials_free(creds);
}

static void a_user_sends_the_refresh_token(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    write_authorized_user(bench, "user.json");
    setenv("GOOGLE_APPLICATION_CREDENTIALS", "user.json", 1);
    struct google_credentials *creds = google_credentials_new(NULL, &err);
    assert_non_null(creds);
    assert_string_equal(google_credentials_describe(creds), "authorised user");
    ASSERT_TOKEN(creds, "token-1");
    assert_string_equal(buf_cstr(&bench->body), "grant_type=refresh_token&client_id=c%26id&client_secret=" CLIENT_SECRET
                                                "&refresh_token=1%2F%2Frefresh-marker-token");
    google_credentials_free(creds);
}

static void gcloud_s_own_file_is_found(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    write_authorized_user(bench, "application_default_credentials.json");
    setenv("CLOUDSDK_CONFIG", ".", 1);
    struct google_credentials *creds = google_credentials_new("", &err);
    assert_non_null(creds);
    assert_string_equal(google_credentials_describe(creds), "authorised user");
    google_credentials_free(creds);
    remove("application_default_credentials.json");
}

static void the_metadata_server_is_asked_last(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    char host[32];
    snprintf(host, sizeof host, "127.0.0.1:%d", http_server_port(bench->server));
    setenv("GCE_METADATA_HOST", host, 1);
    struct google_credentials *creds = google_credentials_new(NULL, &err);
    assert_non_null(creds);
    assert_string_equal(google_credentials_describe(creds), "metadata server");
    ASSERT_TOKEN(creds, "token-1");
    assert_string_equal(buf_cstr(&bench->flavor), "Google");
    assert_string_equal(buf_cstr(&bench->path), "/computeMetadata/v1/instance/service-accounts/default/token");
    google_credentials_free(creds);
}

static void a_metadata_host_elsewhere_is_not_asked_in_plaintext(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    setenv("GCE_METADATA_HOST", "metadata.example.com", 1);
    struct google_credentials *creds = google_credentials_new(NULL, &err);
    char *token = token_text(creds, &err);
    assert_string_equal(token, "");
    assert_int_equal(err.class, ERROR_PERMANENT);
    assert_string_equal(err.code, "http_url");
    free(token);
    google_credentials_free(creds);
    setenv("GCE_METADATA_HOST", "host/path", 1);
    assert_null(google_credentials_new(NULL, &err));
    assert_string_equal(err.code, "credentials_metadata");
}

static void none_needs_no_token(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = google_credentials_none();
    assert_true(google_credentials_is_none(creds));
    ASSERT_TOKEN(creds, "");
    assert_int_equal(bench->calls, 0);
    google_credentials_free(creds);
}

/* ---- Life of a token ---- */

static void a_token_is_kept_until_it_is_refused(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    struct secret *old = secret_new(SLICE_LIT("another")), *first = NULL;
    struct error err = ERROR_INIT;
    ASSERT_TOKEN(creds, "token-1");
    google_credentials_refused(creds, old);
    ASSERT_TOKEN(creds, "token-1");
    assert_true(google_credentials_token(creds, NULL, &first, &err));
    google_credentials_refused(creds, first);
    ASSERT_TOKEN(creds, "token-2");
    google_credentials_refused(creds, first); /* told twice, by two threads: the new one stays */
    ASSERT_TOKEN(creds, "token-2");
    secret_unref(old);
    secret_unref(first);
    google_credentials_free(creds);
}

static void a_token_is_renewed_five_minutes_ahead(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    ASSERT_TOKEN(creds, "token-1");
    cancel_sleep_ms(NULL, 3000 * 1000); /* of 3600 s; 300 s remain before the renewal */
    ASSERT_TOKEN(creds, "token-1");
    cancel_sleep_ms(NULL, 310 * 1000);
    ASSERT_TOKEN(creds, "token-2");
    google_credentials_free(creds);
}

static void a_failed_renewal_leaves_the_old_token_in_use(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    struct error err;
    bench->lifetime_s = 36000;
    ASSERT_TOKEN(creds, "token-1");
    cancel_sleep_ms(NULL, INT64_C(35710) * 1000);
    pthread_mutex_lock(&bench->mutex);
    bench->failures = -1;
    bench->status = 400;
    pthread_mutex_unlock(&bench->mutex);
    ASSERT_TOKEN(creds, "token-1");
    assert_int_equal(bench->calls, 2);
    cancel_sleep_ms(NULL, 300 * 1000); /* now it has ended */
    char *token = token_text(creds, &err);
    assert_string_equal(token, "");
    assert_string_equal(err.code, "credentials_refused");
    free(token);
    google_credentials_free(creds);
}

static void *ask(void *user)
{
    struct error err;
    return token_text(user, &err);
}

static void many_threads_share_one_fetch(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    pthread_t threads[8];
    bench->delay_real_ms = 50;
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, ask, creds);
    for (int i = 0; i < 8; i++) {
        void *token;
        pthread_join(threads[i], &token);
        assert_string_equal(token, "token-1");
        free(token);
    }
    assert_int_equal(bench->calls, 1);
    google_credentials_free(creds);
}

static void a_cancelled_wait_ends(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    struct cancel *cancel = cancel_new(NULL);
    struct secret *token = NULL;
    struct error err = ERROR_INIT;
    cancel_set(cancel, "shutdown");
    assert_false(google_credentials_token(creds, cancel, &token, &err));
    assert_int_equal(err.class, ERROR_CANCELLED);
    assert_null(token);
    ASSERT_TOKEN(creds, "token-1"); /* the cancellation of one is not the failure of all */
    cancel_free(cancel);
    google_credentials_free(creds);
}

/* ---- What goes wrong ---- */

static void the_endpoint_s_answers_are_told_apart(void **state)
{
    static const struct {
        int status;
        const char *reply;
        enum error_class class;
        const char *code;
        int calls;
        const char *message;
    } cases[] = {
        {400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT\\nSignature.\"}", ERROR_PERMANENT,
         "credentials_refused", 1,
         "cannot get an access token for the service account a@b.iam: HTTP status 400: invalid_grant: Invalid JWT "
         "Signature."},
        {401, "<html>", ERROR_PERMANENT, "credentials_refused", 1,
         "cannot get an access token for the service account a@b.iam: HTTP status 401"},
        {400, "{\"error\":\"x\",\"error_description\":\"bad eyJhbGciOiJSUzI1NiJ9.e30.c2ln\"}", ERROR_PERMANENT,
         "credentials_refused", 1,
         "cannot get an access token for the service account a@b.iam: HTTP status 400: the reason is withheld, it "
         "repeats a secret"},
        {503, "{}", ERROR_RETRY, "credentials_busy", 3,
         "could not get an access token for the service account a@b.iam: HTTP status 503"},
        {429, "{}", ERROR_THROTTLED, "credentials_busy", 3,
         "could not get an access token for the service account a@b.iam: HTTP status 429"},
        {200, "{}", ERROR_RETRY, "credentials_reply", 3,
         "could not get an access token for the service account a@b.iam: the reply has no usable access_token"},
        {200, "nonsense", ERROR_RETRY, "credentials_reply", 3,
         "could not get an access token for the service account a@b.iam: the reply has no usable access_token"},
        {200, "{\"access_token\":\"t\",\"expires_in\":0}", ERROR_RETRY, "credentials_reply", 3,
         "could not get an access token for the service account a@b.iam: the reply has no usable access_token"},
    };
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        bench->calls = 0;
        bench->failures = -1;
        bench->status = cases[i].status;
        bench->reply = cases[i].reply;
        char *token = token_text(creds, &err);
        assert_string_equal(token, "");
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(err.code, cases[i].code);
        assert_int_equal(err.class, cases[i].class);
        assert_int_equal(bench->calls, cases[i].calls);
        free(token);
    }
    google_credentials_free(creds);
}

static void a_short_outage_is_waited_out(void **state)
{
    struct bench *bench = *state;
    struct google_credentials *creds = service_account(bench);
    bench->failures = 2;
    bench->status = 503;
    ASSERT_TOKEN(creds, "token-3");
    google_credentials_free(creds);
}

static void secrets_that_are_echoed_stay_out_of_errors(void **state)
{
    static const char *const echoes[] = {REFRESH_TOKEN, CLIENT_SECRET};
    struct bench *bench = *state;
    write_authorized_user(bench, "user.json");
    for (size_t i = 0; i < 2; i++) {
        struct error err = ERROR_INIT;
        struct google_credentials *creds = google_credentials_new("user.json", &err);
        char reply[128];
        snprintf(reply, sizeof reply, "{\"error\":\"invalid_grant\",\"error_description\":\"no %s here\"}", echoes[i]);
        bench->failures = -1;
        bench->status = 400;
        bench->reply = reply;
        char *token = token_text(creds, &err);
        assert_null(strstr(err.message, echoes[i]));
        assert_non_null(strstr(err.message, "withheld"));
        free(token);
        google_credentials_free(creds);
    }
}

static void a_bad_file_is_refused_with_its_reason(void **state)
{
    static const struct {
        const char *text; /* NULL: no file */
        const char *message;
    } cases[] = {
        {NULL, "cannot use the credentials file \"bad.json\": cannot open 'bad.json': No such file or directory"},
        {"{", "cannot use the credentials file \"bad.json\": bad.json is not valid JSON at line 1, column 2: "
              "unexpected end"},
        {"[]", "cannot use the credentials file \"bad.json\": it is not a JSON object"},
        {"{}", "cannot use the credentials file \"bad.json\": \"type\" is missing or not a text"},
        {"{\"type\":\"external_account\"}",
         "cannot use the credentials file \"bad.json\": its type is \"external_account\", not "
         "service_account or authorized_user"},
        {"{\"type\":\"service_account\"}",
         "cannot use the credentials file \"bad.json\": \"client_email\" is missing or not a text"},
        {"{\"type\":\"service_account\",\"client_email\":\"a@b\"}",
         "cannot use the credentials file \"bad.json\": \"private_key\" is missing or not a text"},
        {"{\"type\":\"service_account\",\"client_email\":\"a@b\",\"private_key\":\"marker-key\"}",
         "cannot read the private key in \"bad.json\": it is not an unencrypted PEM key"},
        {"{\"type\":\"service_account\",\"token_uri\":\"http://example.com/t\"}",
         "cannot use the credentials file \"bad.json\": token_uri \"http://example.com/t\": plaintext http is allowed "
         "to loopback "
         "hosts only; use https"},
        {"{\"type\":\"authorized_user\",\"client_id\":\"c\",\"client_secret\":7,\"refresh_token\":\"r\"}",
         "cannot use the credentials file \"bad.json\": \"client_secret\" is missing or not a text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        remove("bad.json");
        if (cases[i].text)
            write_file("bad.json", cases[i].text);
        assert_null(google_credentials_new("bad.json", &err));
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.class, ERROR_PERMANENT);
    }
}

static void a_key_that_is_no_rsa_key_is_refused(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    free(bench->pem);
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    bench->pem = pem_of(curve);
    EVP_PKEY_free(curve);
    write_service_account(bench, "key.json");
    assert_null(google_credentials_new("key.json", &err));
    assert_string_equal(err.message,
                        "cannot use the private key in \"key.json\": it is not an RSA key of at least 2048 bits");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    char scale[16];
    snprintf(scale, sizeof scale, "%d", SCALE);
    setenv("ST_CLOCK_SCALE", scale, 1);
    const struct CMUnitTest tests[] = {
        CASE(a_service_account_sends_a_signed_assertion),
        CASE(a_user_sends_the_refresh_token),
        CASE(gcloud_s_own_file_is_found),
        CASE(the_metadata_server_is_asked_last),
        CASE(a_metadata_host_elsewhere_is_not_asked_in_plaintext),
        CASE(none_needs_no_token),
        CASE(a_token_is_kept_until_it_is_refused),
        CASE(a_token_is_renewed_five_minutes_ahead),
        CASE(a_failed_renewal_leaves_the_old_token_in_use),
        CASE(many_threads_share_one_fetch),
        CASE(a_cancelled_wait_ends),
        CASE(the_endpoint_s_answers_are_told_apart),
        CASE(a_short_outage_is_waited_out),
        CASE(secrets_that_are_echoed_stay_out_of_errors),
        CASE(a_bad_file_is_refused_with_its_reason),
        CASE(a_key_that_is_no_rsa_key_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_global_release();
    return failed;
}
