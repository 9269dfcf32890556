/* cli_http.c - see cli_http.h. */
#include "daemon/cli_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 2000, ANSWER_MAX = 4 << 20 };

struct body {
    char  *text;
    size_t len;
};

static size_t take(char *data, size_t one, size_t n, void *ctx)
{
    struct body *b = ctx;

    if (b->len + n > ANSWER_MAX)
        return 0;
    char *more = realloc(b->text, b->len + n + 1);

    if (!more)
        return 0;
    b->text = more;
    memcpy(b->text + b->len, data, n);
    b->len += n;
    b->text[b->len] = 0;
    return n * one;
}

/* curl says only "could not connect"; the socket itself says why. */
static enum http_result why_not(const char *path, const char *run_dir, struct http_answer *a)
{
    if (access(path, F_OK) != 0 && errno != EACCES) {
        snprintf(a->why, sizeof a->why,
                 "no daemon in %s; start one with limberd --config FILE, or limber run for a simulated robot", run_dir);
        return HTTP_DOWN;
    }
    if (access(path, W_OK) != 0 && errno == EACCES) {
        snprintf(a->why, sizeof a->why, "%s is not for this user; ask to join the group that owns it", path);
        return HTTP_DENIED;
    }
    snprintf(a->why, sizeof a->why, "the daemon of %s has ended; start it again with limberd --config FILE", run_dir);
    return HTTP_DOWN;
}

static enum http_result request(const char *run_dir, const char *socket, const char *path, const char *post,
                                struct http_answer *a)
{
    char        unix_path[108], url[128]; /* sockaddr_un */
    struct body b = { 0 };
    CURL       *c = curl_easy_init();

    memset(a, 0, sizeof *a);
    if (!c) {
        snprintf(a->why, sizeof a->why, "libcurl cannot start");
        return HTTP_SILENT;
    }
    if ((size_t)snprintf(unix_path, sizeof unix_path, "%s/%s", run_dir, socket) >= sizeof unix_path) {
        snprintf(a->why, sizeof a->why, "no daemon in %.300s: the path is too long for a socket", run_dir);
        curl_easy_cleanup(c);
        return HTTP_DOWN;
    }
    snprintf(url, sizeof url, "http://limber%s", path);
    curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, unix_path);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);

    struct curl_slist *header = post ? curl_slist_append(NULL, "Content-Type: application/json") : NULL;

    if (post) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, post);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, header);
    }
    CURLcode rc = curl_easy_perform(c);

    curl_slist_free_all(header);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_cleanup(c);

    enum http_result result = HTTP_OK;

    if (rc == CURLE_COULDNT_CONNECT) {
        result = why_not(unix_path, run_dir, a);
    } else if (rc != CURLE_OK) {
        snprintf(a->why, sizeof a->why, "the daemon of %s does not answer (%s); look at its log", run_dir,
                 rc == CURLE_OPERATION_TIMEDOUT ? "nothing within 2 s" : curl_easy_strerror(rc));
        result = HTTP_SILENT;
    } else {
        a->json = b.text ? json_loads(b.text, 0, NULL) : NULL;
        if (!json_is_object(a->json)) {
            snprintf(a->why, sizeof a->why, "what answers on %s (status %ld) is not limberd", unix_path, a->status);
            json_decref(a->json);
            a->json = NULL;
            result  = HTTP_SILENT;
        }
    }
    free(b.text);
    return result;
}

enum http_result http_status(const char *run_dir, struct http_answer *a)
{
    enum http_result r = request(run_dir, "status.sock", "/status", NULL, a);

    if (r == HTTP_OK && a->status != 200) {
        snprintf(a->why, sizeof a->why, "%s/status.sock answered %ld to GET /status", run_dir, a->status);
        json_decref(a->json);
        a->json = NULL;
        r       = HTTP_SILENT;
    }
    return r;
}

enum http_result http_post(const char *run_dir, const char *verb, json_t *body, struct http_answer *a)
{
    char            *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    enum http_result r    = request(run_dir, "control.sock", verb, text ? text : "{}", a);

    free(text);
    return r;
}
