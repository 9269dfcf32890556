/* cli_http.h - one request to a daemon's Unix socket (docs/status.md), never longer than a timeout. */
#ifndef DAEMON_CLI_HTTP_H
#define DAEMON_CLI_HTTP_H

#include <jansson.h>

enum http_result {
    HTTP_OK,     /* there is an answer, whatever its status */
    HTTP_DOWN,   /* nobody listens */
    HTTP_DENIED, /* the socket is not for this user */
    HTTP_SILENT, /* connected, but no answer in time, or not one of ours */
};

struct http_answer {
    long    status;
    json_t *json;     /* the caller's; NULL unless HTTP_OK */
    char    why[600]; /* a sentence unless HTTP_OK */
};

/* GET /status.  An answer other than 200 with an object is HTTP_SILENT. */
enum http_result http_status(const char *run_dir, struct http_answer *a);

/* POST to the control socket; body is a JSON object or NULL. */
enum http_result http_post(const char *run_dir, const char *verb, json_t *body, struct http_answer *a);

#endif
