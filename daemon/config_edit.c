/* config_edit.c - changes to a document that has been read, and writing it out again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "daemon/config_lines.h"
#include "daemon/rt/check.h"

static char *duplicate(const char *text, size_t n)
{
    char *copy = strndup(text, n);

    NEED(copy);
    return copy;
}

static void free_tree(struct node *n)
{
    for (struct node *c = n->child; c;) {
        struct node *next = c->next;

        free_tree(c);
        c = next;
    }
    free(n->key);
    free(n->text);
    free(n);
}

static void free_children(struct node *n)
{
    for (struct node *c = n->child; c;) {
        struct node *next = c->next;

        free_tree(c);
        c = next;
    }
    n->child = NULL;
    n->n     = 0;
}

static struct node *add_child(struct node *parent, const char *key, size_t len)
{
    struct node *n = calloc(1, sizeof *n), **end = &parent->child;

    NEED(n);
    while (*end)
        end = &(*end)->next;
    *end      = n;
    n->key    = duplicate(key, len);
    n->kind   = NODE_MAP;
    n->parent = parent;
    n->line   = parent->line;
    n->index  = parent->n++;
    return n;
}

static struct node *named(struct node *map, const char *key, size_t len)
{
    for (struct node *n = map->child; n; n = n->next)
        if (n->key && strlen(n->key) == len && memcmp(n->key, key, len) == 0)
            return n;
    return NULL;
}

static struct node *entry(struct node *list, long index)
{
    for (struct node *n = list->child; n; n = n->next)
        if (n->index == index)
            return n;
    return NULL;
}

/* One step of a path that starts at *key, which moves on; NULL: no such place. */
static struct node *step(struct node *at, const char **key, const char *end, bool make)
{
    if (**key == '[') {
        char *close;
        long  index = strtol(*key + 1, &close, 10);

        if (close == *key + 1 || *close != ']' || at->kind != NODE_LIST)
            return NULL;
        *key = close + 1;
        return entry(at, index);
    }
    *key += **key == '.';

    size_t       len  = strcspn(*key, ".[=");
    const char  *from = *key;
    struct node *n;

    if (from + len > end || len == 0 || at->kind != NODE_MAP)
        return NULL;
    *key = from + len;
    n    = named(at, from, len);
    return n || !make ? n : add_child(at, from, len);
}

static struct node *walk(struct document *d, const char *key, const char *end, bool make)
{
    struct node *at = d->root;

    while (at && key < end)
        at = step(at, &key, end, make);
    return at;
}

/* Gives `to` the value of `from`, which is left empty. */
static void take_value(struct node *to, struct node *from)
{
    free_children(to);
    free(to->text);
    to->kind    = from->kind;
    to->quoted  = from->quoted;
    to->text    = from->text;
    to->child   = from->child;
    to->n       = from->n;
    from->text  = NULL;
    from->child = NULL;
    for (struct node *c = to->child; c; c = c->next)
        c->parent = to;
}

int document_set(struct document *d, const char *assignment, const char *origin)
{
    const char     *equal = strchr(assignment, '=');
    struct document value = { .file = origin, .why = d->why, .why_size = d->why_size };
    struct node    *at    = NULL;
    int             rc    = -1;

    if (!equal || equal == assignment || !equal[1]) {
        snprintf(d->why, d->why_size, "%s: expected KEY=VALUE, such as planner.horizon=20", origin);
        return -1;
    }
    if (document_parse(&value, duplicate(equal + 1, strlen(equal + 1)), strlen(equal + 1)) == 0 && value.root)
        at = walk(d, assignment, equal, true);
    else if (!d->why[0])
        snprintf(d->why, d->why_size, "%s: expected a value", origin);
    if (at && at != d->root) {
        take_value(at, value.root);
        at->origin = origin;
        rc         = 0;
    } else if (!d->why[0]) {
        snprintf(d->why, d->why_size, "%s: no such place in %s: expected a path of keys, such as joints[0].effort",
                 origin, d->file);
    }
    document_free(&value);
    return rc;
}

void document_set_text(struct document *d, const char *key, const char *text)
{
    struct node  value = { .kind = NODE_SCALAR, .quoted = true, .text = duplicate(text, strlen(text)) };
    struct node *at    = walk(d, key, key + strlen(key), true);

    CHECK(at && at != d->root);
    take_value(at, &value);
}

void document_remove(struct document *d, const char *key)
{
    struct node *n     = walk(d, key, key + strlen(key), false), **link;
    int          index = 0;

    if (!n || !n->parent)
        return;
    struct node *parent = (struct node *)n->parent;

    for (link = &parent->child; *link != n;)
        link = &(*link)->next;
    *link = n->next;
    for (struct node *c = parent->child; c; c = c->next)
        c->index = index++;
    parent->n = index;
    free_tree(n);
}

/* --- writing --- */

struct text {
    char  *bytes;
    size_t n, room;
};

static int take_bytes(void *ctx, unsigned char *bytes, size_t n)
{
    struct text *t = ctx;

    if (t->n + n + 1 > t->room) {
        t->room  = 2 * (t->n + n + 1);
        t->bytes = realloc(t->bytes, t->room);
        NEED(t->bytes);
    }
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = 0;
    return 1;
}

static void emit_scalar(yaml_emitter_t *e, const char *text, bool quoted)
{
    yaml_event_t event;

    CHECK(yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1,
                                       quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE));
    CHECK(yaml_emitter_emit(e, &event));
}

static void emit(yaml_emitter_t *e, const struct node *n)
{
    yaml_event_t event;
    bool         plain = true;

    if (n->kind == NODE_SCALAR) {
        emit_scalar(e, n->text, n->quoted);
        return;
    }
    for (const struct node *c = n->child; c; c = c->next)
        plain &= c->kind == NODE_SCALAR;
    if (n->kind == NODE_MAP)
        CHECK(yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    else
        CHECK(yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                   plain ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE));
    CHECK(yaml_emitter_emit(e, &event));
    for (const struct node *c = n->child; c; c = c->next) {
        if (c->key)
            emit_scalar(e, c->key, false);
        emit(e, c);
    }
    if (n->kind == NODE_MAP)
        CHECK(yaml_mapping_end_event_initialize(&event));
    else
        CHECK(yaml_sequence_end_event_initialize(&event));
    CHECK(yaml_emitter_emit(e, &event));
}

void document_emit(struct document *d)
{
    struct text    out = { 0 };
    yaml_emitter_t e;
    yaml_event_t   event;

    CHECK(yaml_emitter_initialize(&e));
    yaml_emitter_set_output(&e, take_bytes, &out);
    yaml_emitter_set_width(&e, -1);
    yaml_emitter_set_unicode(&e, 1);
    CHECK(yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) && yaml_emitter_emit(&e, &event));
    CHECK(yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) && yaml_emitter_emit(&e, &event));
    emit(&e, d->root);
    CHECK(yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(&e, &event));
    CHECK(yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(&e, &event));
    yaml_emitter_delete(&e);
    free(d->text);
    d->text = out.bytes;
    d->size = out.n;
}
