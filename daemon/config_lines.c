/* config_lines.c - one pass over libyaml's events builds the tree. */
#include "daemon/config_lines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "daemon/rt/check.h"

enum { FILE_SIZE_MAX = 256 * 1024, DEPTH_MAX = 12, CHILDREN_MAX = 1000 };

static const struct node *map_get(const struct node *map, const char *key, size_t len)
{
    for (const struct node *n = map->child; n; n = n->next)
        if (strlen(n->key) == len && memcmp(n->key, key, len) == 0)
            return n;
    return NULL;
}

static const struct node *list_get(const struct node *list, long index)
{
    for (const struct node *n = list->child; n; n = n->next)
        if (n->index == index)
            return n;
    return NULL;
}

/* Follows `key` as far as the file goes; *rest is the part that is not there. */
static const struct node *follow(const struct document *d, const char *key, const char **rest)
{
    const struct node *at = d->root;

    while (at && *key) {
        const struct node *next = NULL;
        const char        *end;

        if (*key == '[') {
            char *close;
            long  index = strtol(key + 1, &close, 10);
            end         = close + 1;
            if (at->kind == NODE_LIST)
                next = list_get(at, index);
        } else {
            key += *key == '.';
            end = key + strcspn(key, ".[");
            if (at->kind == NODE_MAP)
                next = map_get(at, key, (size_t)(end - key));
        }
        if (!next)
            break;
        at  = next;
        key = end;
    }
    *rest = key;
    return at;
}

const struct node *document_at(const struct document *d, const char *key)
{
    const char        *rest;
    const struct node *n = follow(d, key, &rest);

    return *rest ? NULL : n;
}

const char *document_key(struct document *d, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(d->key, sizeof d->key, format, args);
    va_end(args);
    return d->key;
}

void node_key(const struct node *n, bool pattern, char *out, size_t size)
{
    const struct node *chain[DEPTH_MAX + 2];
    int                depth = 0;
    size_t             used  = 0;

    for (; n->parent; n = n->parent) {
        CHECK(depth < DEPTH_MAX + 2);
        chain[depth++] = n;
    }
    out[0] = 0;
    while (depth-- && used < size) {
        const struct node *at   = chain[depth];
        char              *to   = out + used;
        size_t             left = size - used;

        if (at->key)
            used += (size_t)snprintf(to, left, "%s%s", used ? "." : "", at->key);
        else if (pattern)
            used += (size_t)snprintf(to, left, "[]");
        else
            used += (size_t)snprintf(to, left, "[%d]", at->index);
    }
}

void node_place(const struct document *d, const struct node *n, char *out, size_t size)
{
    for (const struct node *at = n; at; at = at->parent)
        if (at->origin) {
            snprintf(out, size, "%s", at->origin);
            return;
        }
    snprintf(out, size, "%s:%d", d->file, n ? n->line : 1);
}

/* ` value "V":` for a scalar or a list of scalars; nothing for a map. */
static void append_value(char *out, size_t size, const struct node *n)
{
    size_t used = strlen(out);

    if (n->kind == NODE_MAP)
        return;
    used += (size_t)snprintf(out + used, size - used, " value \"");
    if (n->kind == NODE_SCALAR && used < size)
        used += (size_t)snprintf(out + used, size - used, "%.80s", n->text);
    for (const struct node *e = n->child; e && used < size; e = e->next)
        used += (size_t)snprintf(out + used, size - used, "%s%s%s", e->index ? ", " : "[",
                                 e->kind == NODE_SCALAR ? e->text : "...", e->next ? "" : "]");
    if (used < size)
        snprintf(out + used, size - used, "\":");
}

__attribute__((format(printf, 5, 0))) static int fail(struct document *d, const struct node *n, const char *key,
                                                      const char *note, const char *format, va_list args)
{
    char head[2 * KEY_SIZE + 800], place[KEY_SIZE + 400];

    node_place(d, n, place, sizeof place);
    snprintf(head, sizeof head, "%s: %s%s%s", place, key, *key ? ":" : "", note);
    if (n && !*note)
        append_value(head, sizeof head, n);
    int used = snprintf(d->why, d->why_size, "%s ", head);
    if (used >= 0 && (size_t)used < d->why_size)
        vsnprintf(d->why + used, d->why_size - (size_t)used, format, args);
    return -1;
}

int node_fail(struct document *d, const struct node *n, const char *format, ...)
{
    char    key[KEY_SIZE];
    va_list args;

    node_key(n, false, key, sizeof key);
    va_start(args, format);
    fail(d, n, key, "", format, args);
    va_end(args);
    return -1;
}

int document_fail(struct document *d, const char *key, const char *format, ...)
{
    const char        *rest;
    const struct node *n = follow(d, key, &rest);
    va_list            args;

    va_start(args, format);
    fail(d, n, key, *rest ? " missing:" : "", format, args);
    va_end(args);
    return -1;
}

/* --- reading --- */

__attribute__((format(printf, 3, 4))) static int fail_line(struct document *d, size_t line, const char *format, ...)
{
    va_list args;
    int     used = snprintf(d->why, d->why_size, "%s:%zu: ", d->file, line);

    va_start(args, format);
    if (used >= 0 && (size_t)used < d->why_size)
        vsnprintf(d->why + used, d->why_size - (size_t)used, format, args);
    va_end(args);
    return -1;
}

static int fail_libyaml(struct document *d, const yaml_parser_t *p)
{
    size_t line = p->problem_mark.line + 1;

    if (p->error == YAML_READER_ERROR) { /* bad bytes: only the offset is known */
        line = 1;
        for (size_t i = 0; i < p->problem_offset && i < d->size; i++)
            line += d->text[i] == '\n';
    }
    return fail_line(d, line, "not YAML: %s%s%s", p->context ? p->context : "", p->context ? ", " : "",
                     p->problem ? p->problem : "unknown problem");
}

static int next_event(struct document *d, yaml_parser_t *p, yaml_event_t *e)
{
    if (!yaml_parser_parse(p, e))
        return fail_libyaml(d, p);
    return 0;
}

/* A task file is read while the robot is armed: without memory for it, it is refused. */
static int no_memory(struct document *d)
{
    snprintf(d->why, d->why_size, "%s: no memory to read it; free some, then try again", d->file);
    return -1;
}

static struct node *node_new(struct node *parent, enum node_kind kind, size_t line)
{
    struct node *n = calloc(1, sizeof *n);

    if (!n)
        return NULL;
    n->kind   = kind;
    n->line   = (int)line;
    n->parent = parent;
    if (parent) {
        struct node **end = &parent->child;
        while (*end)
            end = &(*end)->next;
        *end     = n;
        n->index = parent->n++;
    }
    return n;
}

static void node_free(struct node *n)
{
    while (n) {
        struct node *next = n->next;
        node_free(n->child);
        free(n->key);
        free(n->text);
        free(n);
        n = next;
    }
}

static char *copy(const yaml_event_t *e)
{
    return strndup((const char *)e->data.scalar.value, e->data.scalar.length);
}

static int check_event(struct document *d, const yaml_event_t *e)
{
    size_t             line   = e->start_mark.line + 1;
    const yaml_char_t *anchor = NULL, *tag = NULL;

    if (e->type == YAML_ALIAS_EVENT)
        return fail_line(d, line, "alias \"*%s\": expected the value itself; aliases are not read here",
                         (const char *)e->data.alias.anchor);
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag    = e->data.scalar.tag;
        if (memchr(e->data.scalar.value, 0, e->data.scalar.length))
            return fail_line(d, line, "a text with a zero byte: expected printable text");
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag    = e->data.mapping_start.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag    = e->data.sequence_start.tag;
    }
    if (anchor || tag)
        return fail_line(d, line, "%s \"%s\": expected a plain value; anchors and tags are not read here",
                         tag ? "tag" : "anchor", (const char *)(tag ? tag : anchor));
    return 0;
}

static int parse_value(struct document *d, yaml_parser_t *p, const yaml_event_t *e, struct node *parent, char *key,
                       size_t line, int depth);

static int parse_list(struct document *d, yaml_parser_t *p, struct node *list, int depth)
{
    for (;;) {
        yaml_event_t e;
        if (next_event(d, p, &e) < 0)
            return -1;
        bool end = e.type == YAML_SEQUENCE_END_EVENT;
        int  rc  = end ? 0 : parse_value(d, p, &e, list, NULL, e.start_mark.line + 1, depth);
        yaml_event_delete(&e);
        if (rc < 0 || end)
            return rc;
    }
}

static int parse_pair(struct document *d, yaml_parser_t *p, const yaml_event_t *e, struct node *map, int depth)
{
    size_t line = e->start_mark.line + 1;

    if (check_event(d, e) < 0)
        return -1;
    if (e->type != YAML_SCALAR_EVENT)
        return fail_line(d, line, "a list or map as a key: expected a name");

    const struct node *first = map_get(map, (const char *)e->data.scalar.value, e->data.scalar.length);
    if (first) {
        char key[KEY_SIZE];
        node_key(first, false, key, sizeof key);
        return fail_line(d, line, "%s: given twice: expected it once; line %d has it already", key, first->line);
    }
    yaml_event_t value;
    char        *key = copy(e);
    if (!key)
        return no_memory(d);
    if (next_event(d, p, &value) < 0) {
        free(key);
        return -1;
    }
    int rc = parse_value(d, p, &value, map, key, line, depth);
    yaml_event_delete(&value);
    return rc;
}

static int parse_map(struct document *d, yaml_parser_t *p, struct node *map, int depth)
{
    for (;;) {
        yaml_event_t e;
        if (next_event(d, p, &e) < 0)
            return -1;
        bool end = e.type == YAML_MAPPING_END_EVENT;
        int  rc  = end ? 0 : parse_pair(d, p, &e, map, depth);
        yaml_event_delete(&e);
        if (rc < 0 || end)
            return rc;
    }
}

/* Takes over `key`. */
static int parse_value(struct document *d, yaml_parser_t *p, const yaml_event_t *e, struct node *parent, char *key,
                       size_t line, int depth)
{
    enum node_kind kind = e->type == YAML_MAPPING_START_EVENT    ? NODE_MAP
                          : e->type == YAML_SEQUENCE_START_EVENT ? NODE_LIST
                                                                 : NODE_SCALAR;
    int            rc   = check_event(d, e);
    if (rc == 0 && depth > DEPTH_MAX)
        rc = fail_line(d, line, "nested deeper than %d levels", DEPTH_MAX);
    if (rc == 0 && parent && parent->n == CHILDREN_MAX)
        rc = fail_line(d, line, "more than %d entries", CHILDREN_MAX);
    if (rc < 0) {
        free(key);
        return -1;
    }
    struct node *n = node_new(parent, kind, line);
    if (!n) {
        free(key);
        return no_memory(d);
    }
    n->key = key;
    if (!parent)
        d->root = n;
    if (kind == NODE_MAP)
        return parse_map(d, p, n, depth + 1);
    if (kind == NODE_LIST)
        return parse_list(d, p, n, depth + 1);
    n->text   = copy(e);
    n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return n->text ? 0 : no_memory(d);
}

/* Stream start, document start, the value, document end, stream end. */
static int parse_document(struct document *d, yaml_parser_t *p)
{
    for (;;) {
        yaml_event_t e;
        if (next_event(d, p, &e) < 0)
            return -1;
        int    rc   = 0;
        bool   end  = e.type == YAML_STREAM_END_EVENT;
        size_t line = e.start_mark.line + 1;
        if (e.type == YAML_DOCUMENT_START_EVENT && d->root)
            rc = fail_line(d, line, "a second document: expected one");
        else if (e.type == YAML_SCALAR_EVENT || e.type == YAML_ALIAS_EVENT || e.type == YAML_MAPPING_START_EVENT ||
                 e.type == YAML_SEQUENCE_START_EVENT)
            rc = parse_value(d, p, &e, NULL, NULL, line, 0);
        yaml_event_delete(&e);
        if (rc < 0 || end)
            return rc;
    }
}

static int read_file(struct document *d)
{
    FILE *f = fopen(d->file, "re");

    if (!f) {
        snprintf(d->why, d->why_size, "%s: cannot open: %s", d->file, strerror(errno));
        return -1;
    }
    d->text = malloc(FILE_SIZE_MAX + 1);
    if (!d->text) {
        fclose(f);
        return no_memory(d);
    }
    d->size = fread(d->text, 1, FILE_SIZE_MAX + 1, f);
    int bad = ferror(f) ? errno : 0;
    fclose(f);
    if (bad) {
        snprintf(d->why, d->why_size, "%s: cannot read: %s", d->file, strerror(bad));
        return -1;
    }
    if (d->size > FILE_SIZE_MAX) {
        snprintf(d->why, d->why_size, "%s: larger than %d bytes: not a configuration", d->file, FILE_SIZE_MAX);
        return -1;
    }
    return 0;
}

int document_parse(struct document *d, char *text, size_t size)
{
    yaml_parser_t p;

    d->text = text;
    d->size = size;
    if (!yaml_parser_initialize(&p))
        return no_memory(d);
    yaml_parser_set_input_string(&p, (const unsigned char *)d->text, d->size);
    int rc = parse_document(d, &p);
    yaml_parser_delete(&p);
    return rc;
}

int document_read(struct document *d, const char *file, char *why, size_t why_size)
{
    *d = (struct document){ .file = file, .why = why, .why_size = why_size };
    if (read_file(d) < 0 || document_parse(d, d->text, d->size) < 0)
        return -1;
    if (!d->root || d->root->kind != NODE_MAP)
        return fail_line(d, 1, "expected a map of keys and values");
    return 0;
}

void document_free(struct document *d)
{
    node_free(d->root);
    free(d->text);
    *d = (struct document){ 0 };
}
