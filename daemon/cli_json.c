/* cli_json.c - see cli_json.h. */
#include "daemon/cli_json.h"

#include <math.h>
#include <string.h>

const json_t *js_at(const json_t *root, const char *path)
{
    while (root && *path) {
        size_t n = strcspn(path, ".");

        root = json_object_getn(root, path, n);
        path += n + (path[n] == '.');
    }
    return root;
}

double js_num(const json_t *root, const char *path)
{
    const json_t *v = js_at(root, path);

    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

long js_int(const json_t *root, const char *path)
{
    double x = js_num(root, path);

    return x >= -9e15 && x <= 9e15 ? (long)x : 0;
}

bool js_true(const json_t *root, const char *path)
{
    return json_is_true(js_at(root, path));
}

const char *js_str(const json_t *root, const char *path, const char *none)
{
    const char *s = json_string_value(js_at(root, path));

    return s ? s : none;
}

json_t *js_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}
