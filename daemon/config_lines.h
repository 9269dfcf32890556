/* config_lines.h - a YAML file as a tree that remembers its lines, so that every complaint can name one.
 *
 * Only the plain part of YAML: one document of maps, lists and scalars; no anchors, aliases or tags; no key twice.
 * Main thread, allocates; document_free() frees everything, also after an error. */
#ifndef DAEMON_CONFIG_LINES_H
#define DAEMON_CONFIG_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { KEY_SIZE = 256 };

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind     kind;
    int                line;   /* from 1; of the key, in a map   */
    int                index;  /* place among the parent's children */
    int                n;      /* children                       */
    bool               quoted; /* a scalar in quotes             */
    const char        *origin; /* what it was set by, where that is not the file; the caller's */
    char              *key;    /* NULL outside a map             */
    char              *text;   /* of a scalar, else NULL         */
    const struct node *parent; /* NULL for the root              */
    struct node       *child, *next;
};

struct document {
    const char  *file;
    char        *text;
    size_t       size;
    struct node *root;
    char        *why; /* where the one message goes */
    size_t       why_size;
    char         key[KEY_SIZE]; /* of document_key() */
};

/* Reads and parses.  0, or -1 with `why` filled.  `file` and `why` stay the caller's and must outlive the document. */
int  document_read(struct document *d, const char *file, char *why, size_t why_size);
void document_free(struct document *d);

/* document_read() of a text instead of a file's; any value will do.  document_free() frees the text, which is malloc's. */
int document_parse(struct document *d, char *text, size_t size);

/* Sets KEY=VALUE (KEY a path as for document_at(), VALUE as YAML): maps on the way are made, list entries must be there.
 * Complaints about it name `origin`, which outlives the document, in place of file and line.  document_emit() is due
 * afterwards. */
int document_set(struct document *d, const char *assignment, const char *origin);

/* The same for one plain text. */
void document_set_text(struct document *d, const char *key, const char *text);

/* Takes out the node at the key path, if it is there. */
void document_remove(struct document *d, const char *key);

/* Writes the tree anew into text and size; nodes keep the lines of the file. */
void document_emit(struct document *d);

/* "FILE:LINE", or what the node was set by. */
void node_place(const struct document *d, const struct node *n, char *out, size_t size);

/* The node at a key path such as "joints[1].velocity", or NULL. */
const struct node *document_at(const struct document *d, const char *key);

/* printf into the document's one key buffer, for the functions here. */
const char *document_key(struct document *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Key path of a node; with `pattern`, list places are left out: "joints[].velocity". */
void node_key(const struct node *n, bool pattern, char *out, size_t size);

/* Both write `FILE:LINE: KEY: value "V": message` into d->why and return -1.  Where the key is not in the file, the
 * line is that of the deepest part that is, and the message says `missing`. */
int node_fail(struct document *d, const struct node *n, const char *format, ...) __attribute__((format(printf, 3, 4)));
int document_fail(struct document *d, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
