/* Tokens travel over TLS: they are sent there, renewed once when refused, and taken out of an error that echoes them.
 * The server's certificate is made here and given to the C core as its only root. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "grpc_test_server.h"
#include "net/http.h"
#include "net/http_server.h"
#include "wellknown.pb-c.h"

struct bench {
    struct http_server *tokens;
    struct test_server *server;
    struct google_credentials *creds;
    struct grpc_link *link;
    pthread_mutex_t mutex; /* guards the rest */
    int fetched;
    int calls;
    struct buf seen[4]; /* authorization headers, in order */
};

/* One for 127.0.0.1, and one that is as trusted but for another name. */
static struct {
    char *certificate, *key;
} right, wrong;

/* ---- The certificate ---- */

static char *bio_text(BIO *bio)
{
    char *bytes;
    long len = BIO_get_mem_data(bio, &bytes);
    char *text = xstrndup(bytes, (size_t)len);
    BIO_free(bio);
    return text;
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* Makes a certificate for the name and adds it to the roots. */
static void make_certificate(const char *name_text, char **ret_certificate, char **ret_key)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)name_text, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(certificate, NID_subject_alt_name, name_text);
    X509_sign(certificate, key, EVP_sha256());
    BIO *out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, certificate);
    *ret_certificate = bio_text(out);
    out = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
    *ret_key = bio_text(out);
    X509_free(certificate);
    EVP_PKEY_free(key);
    FILE *file = fopen("roots.pem", "a");
    fputs(*ret_certificate, file);
    fclose(file);
    setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "roots.pem", 1);
}

/* ---- The two servers ---- */

static void give_token(void *user, struct http_exchange *x)
{
    struct bench *bench = user;
    char reply[96];
    pthread_mutex_lock(&bench->mutex);
    snprintf(reply, sizeof reply, "{\"access_token\":\"marker-token-%d\",\"expires_in\":3600}", ++bench->fetched);
    pthread_mutex_unlock(&bench->mutex);
    http_exchange_reply(x, 200, "application/json", slice_str(reply));
}

/* The header of this call, noted. */
static const char *note_header(struct bench *bench, struct test_call *call)
{
    pthread_mutex_lock(&bench->mutex);
    struct buf *seen = &bench->seen[bench->calls++ % 4];
    test_call_header(call, "authorization", seen);
    const char *text = buf_cstr(seen);
    pthread_mutex_unlock(&bench->mutex);
    return text;
}

static void handle(void *user, struct test_call *call)
{
    struct buf message = BUF_INIT;
    const char *header = note_header(user, call);
    test_call_recv(call, &message);
    if (test_call_is(call, "/t.T/OnlySecond") && strcmp(header, "Bearer marker-token-2") != 0)
        test_call_finish(call, GRPC_STATUS_UNAUTHENTICATED, "expired", SLICE_NULL);
    else if (test_call_is(call, "/t.T/Never"))
        test_call_finish(call, GRPC_STATUS_UNAUTHENTICATED, header, SLICE_NULL);
    else
        test_call_send(call, buf_slice(&message));
    buf_release(&message);
}

static struct test_server *start_server(struct bench *bench, const char *key, const char *certificate)
{
    grpc_ssl_pem_key_cert_pair pair = {key, certificate};
    grpc_global_init();
    grpc_server_credentials *tls =
        grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
    struct test_server *server = test_server_start_at(0, handle, bench, tls);
    grpc_server_credentials_release(tls);
    return server;
}

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    char text[32];
    pthread_mutex_init(&bench->mutex, NULL);
    const struct http_server_options options = {
        .bind_address = "127.0.0.1", .handler_threads = 1, .handler = give_token, .user = bench};
    bench->tokens = http_server_start(&options, &err);
    snprintf(text, sizeof text, "127.0.0.1:%d", http_server_port(bench->tokens));
    setenv("GCE_METADATA_HOST", text, 1);
    setenv("CLOUDSDK_CONFIG", "/nowhere", 1);
    unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
    bench->server = start_server(bench, right.key, right.certificate);
    bench->creds = google_credentials_new(NULL, &err);
    bench->link = grpc_link_new(test_server_target(bench->server, text), false, bench->creds, &err);
    *state = bench;
    return bench->link ? 0 : -1;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    grpc_link_free(bench->link);
    test_server_stop(bench->server);
    google_credentials_free(bench->creds);
    http_server_stop(bench->tokens, 1000);
    for (int i = 0; i < 4; i++)
        buf_release(&bench->seen[i]);
    free(bench);
    return 0;
}

static bool call(struct bench *bench, const char *method, struct error *err)
{
    Google__Protobuf__Int64Value request;
    google__protobuf__int64_value__init(&request);
    ProtobufCMessage *reply = NULL;
    *err = ERROR_INIT;
    if (!grpc_unary(bench->link, method, NULL, &request.base, &google__protobuf__int64_value__descriptor, 20000, NULL,
                    &reply, err))
        return false;
    protobuf_c_message_free_unpacked(reply, NULL);
    return true;
}

static void the_token_goes_with_unary_calls_and_streams(void **state)
{
    struct bench *bench = *state;
    struct error err;
    struct buf got = BUF_INIT;
    assert_true(call(bench, "/t.T/Echo", &err));
    struct grpc_stream *stream = grpc_stream_open(bench->link, "/t.T/Echo", NULL, &err);
    assert_true(grpc_stream_send(stream, SLICE_LIT("x"), SLICE_NULL, &err));
    assert_int_equal(grpc_stream_recv(stream, 20000, &got, NULL, &err), GRPC_RECV_MESSAGE);
    grpc_stream_free(stream);
    assert_string_equal(buf_cstr(&bench->seen[0]), "Bearer marker-token-1");
    assert_string_equal(buf_cstr(&bench->seen[1]), "Bearer marker-token-1");
    assert_int_equal(bench->fetched, 1);
    buf_release(&got);
}

static void a_refused_token_is_replaced_once(void **state)
{
    struct bench *bench = *state;
    struct error err;
    assert_true(call(bench, "/t.T/OnlySecond", &err));
    assert_int_equal(bench->calls, 2);
    assert_int_equal(bench->fetched, 2);
    assert_false(call(bench, "/t.T/Never", &err));
    assert_int_equal(bench->calls, 4);
    assert_int_equal(err.class, ERROR_PERMANENT);
    assert_string_equal(err.code, "unauthenticated");
}

static void a_stream_s_refusal_makes_the_next_one_ask_anew(void **state)
{
    struct bench *bench = *state;
    struct error err;
    struct buf got = BUF_INIT;
    for (int i = 0; i < 2; i++) {
        struct grpc_stream *stream = grpc_stream_open(bench->link, "/t.T/OnlySecond", NULL, &err);
        assert_true(grpc_stream_send(stream, SLICE_LIT("x"), SLICE_NULL, &err));
        assert_int_equal(grpc_stream_recv(stream, 20000, &got, NULL, &err), i ? GRPC_RECV_MESSAGE : GRPC_RECV_END);
        grpc_stream_free(stream);
    }
    buf_release(&got);
}

static void an_echoed_token_stays_out_of_the_error(void **state)
{
    struct bench *bench = *state;
    struct error err;
    assert_false(call(bench, "/t.T/Never", &err));
    assert_null(strstr(err.message, "marker-token"));
    assert_string_equal(err.message, "cannot call \"t.T/Never\": unauthenticated: Bearer [secret]");
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    char target[32];
    grpc_link_free(bench->link);
    test_server_stop(bench->server);
    bench->server = start_server(bench, wrong.key, wrong.certificate);
    bench->link = grpc_link_new(test_server_target(bench->server, target), false, bench->creds, &err);
    assert_false(call(bench, "/t.T/Echo", &err));
    assert_string_equal(err.code, "unavailable");
    assert_int_equal(bench->calls, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_token_goes_with_unary_calls_and_streams),    CASE(a_refused_token_is_replaced_once),
        CASE(a_stream_s_refusal_makes_the_next_one_ask_anew), CASE(an_echoed_token_stays_out_of_the_error),
        CASE(a_certificate_for_another_name_is_refused),
    };
    make_certificate("IP:127.0.0.1", &right.certificate, &right.key);
    make_certificate("DNS:other.example", &wrong.certificate, &wrong.key);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    http_global_release();
    free(right.certificate);
    free(right.key);
    free(wrong.certificate);
    free(wrong.key);
    return failed;
}
