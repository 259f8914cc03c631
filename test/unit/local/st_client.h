/* st_client.h - a plain client of the simulator for its tests: one request at a time over libcurl, replies as text and
 * JSON. */
#ifndef TEST_ST_CLIENT_H
#define TEST_ST_CLIENT_H

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "st_server.h"
#include "base/buf.h"
#include "base/json.h"

struct st_client {
    struct st_server *server;
    struct st_server_access access;
    char token[4096];
    bool no_key, no_token, raw_token;
};

struct answer {
    long status; /* 0: the transfer failed */
    CURLcode transfer;
    struct buf body, headers;
    struct json_object *json; /* NULL when the body is none */
};

static inline size_t answer_append(char *bytes, size_t size, size_t count, void *buf)
{
    buf_append(buf, bytes, size * count);
    return size * count;
}

static inline void answer_release(struct answer *answer)
{
    buf_release(&answer->body);
    buf_release(&answer->headers);
    json_object_put(answer->json);
}

/* Sends it; `type` NULL: GET (or DELETE for the body "DELETE"). */
static inline struct answer st_client_send(struct st_client *client, const char *path, const char *type,
                                           const char *body)
{
    struct answer answer = {.body = BUF_INIT, .headers = BUF_INIT};
    char url[2048], header[4200];
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", st_server_port(client->server), path);
    snprintf(header, sizeof header, "Authorization: %s%s", client->raw_token ? "" : "Bearer ", client->token);
    if (!client->no_token && client->token[0])
        headers = curl_slist_append(headers, header);
    snprintf(header, sizeof header, "ST-App-Key: %s", client->access.app_key);
    if (!client->no_key)
        headers = curl_slist_append(headers, header);
    if (type) {
        snprintf(header, sizeof header, "Content-Type: %s", type);
        headers = curl_slist_append(headers, header);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    } else if (body) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, body);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, answer_append);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer.headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    answer.transfer = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    answer.json = answer.body.len ? json_parse(buf_slice(&answer.body), "answer", NULL) : NULL;
    return answer;
}

static inline struct answer st_client_get(struct st_client *client, const char *path)
{
    return st_client_send(client, path, NULL, NULL);
}

/* GET of a list or feed of the client's own tenant: "jpm", "jobs?page=2". */
static inline struct answer st_client_list(struct st_client *client, const char *module, const char *rest)
{
    char path[1024];
    snprintf(path, sizeof path, "/%s/v2/tenant/%lld/%s", module, (long long)client->access.tenant, rest);
    return st_client_get(client, path);
}

static inline struct answer st_client_admin(struct st_client *client, const char *path, const char *json)
{
    return json ? st_client_send(client, path, "application/json", json) : st_client_get(client, path);
}

static inline struct answer st_client_ask_token(struct st_client *client, const char *secret)
{
    char form[512];
    snprintf(form, sizeof form, "grant_type=client_credentials&client_id=%s&client_secret=%s", client->access.client_id,
             secret);
    return st_client_send(client, "/connect/token", "application/x-www-form-urlencoded", form);
}

static inline void st_client_login(struct st_client *client)
{
    struct answer answer = st_client_ask_token(client, client->access.client_secret);
    snprintf(client->token, sizeof client->token, "%s", json_text_at(answer.json, "access_token", ""));
    answer_release(&answer);
}

static inline struct st_client st_client_start(const struct st_server_options *options)
{
    struct error err = ERROR_INIT;
    struct st_client client = {.server = st_server_start(options, &err)};
    if (client.server == NULL) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    if (!st_server_access(client.server, 0, &client.access))
        abort();
    st_client_login(&client);
    return client;
}

static inline void st_client_stop(struct st_client *client)
{
    st_server_stop(client->server);
}

#endif
