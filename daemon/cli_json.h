/* cli_json.h - reading a status document by path ("control.wake_us.p99"); what is missing or null has a default. */
#ifndef DAEMON_CLI_JSON_H
#define DAEMON_CLI_JSON_H

#include <jansson.h>
#include <stdbool.h>

const json_t *js_at(const json_t *root, const char *path);                    /* NULL: none */
double        js_num(const json_t *root, const char *path);                   /* NaN: none */
long          js_int(const json_t *root, const char *path);                   /* 0: none */
bool          js_true(const json_t *root, const char *path);                  /* only for JSON's true */
const char   *js_str(const json_t *root, const char *path, const char *none); /* owned by the document */

/* A number for a JSON document of ours: null where it is not finite. */
json_t *js_real(double x);

#endif
