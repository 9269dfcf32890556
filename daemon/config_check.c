/* config_check.c - the document against the schema: unknown and missing keys, kinds, words, and every number's range.
 *
 * What passes here, libcyaml converts without complaint; if it does complain, its own sentence is reported. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/config_schema.h"
#include "daemon/filter.h"
#include "daemon/rt/check.h"
#include "planner/search.h"
#include "planner/search.h"

/* Unit and bounds of a number, bounds included.  Upper bounds are absolute: no configuration can ask for more. */
struct number_rule {
    const char *key; /* list places left out */
    const char *unit;
    double      low, high;
};

static const struct number_rule rules[] = {
    /* clang-format off */
    { "rates.control_hz",              "Hz",                             5,       2000 },
    { "rates.plan_every",              "control ticks",                  1,       1000 },
    { "rates.delay_steps",             "planner steps",                  0,          1 },
    { "rates.latch_ms",                "ms",                             0,         50 },
    { "joints[].position[]",           "rad (m if prismatic)",       -1000,       1000 },
    { "observation[].range[]",         "",               -1e6,        1e6 },
    { "joints[].velocity",             "rad/s (m/s if prismatic)",    1e-3,       1000 },
    { "joints[].resolution",           "rad (m if prismatic)",        1e-12,          1 },
    { "joints[].effort",               "N m (N if prismatic)",        1e-6, FILTER_EFFORT_CEILING },
    { "joints[].effort_rate",          "N m/s (N/s if prismatic)",    1e-6,        1e8 },
    { "joints[].effort_rate_down",     "N m/s (N/s if prismatic)",    1e-6,        1e8 },
    { "joints[].effort_growth",        "N m (N if prismatic) within 250 ms", 1e-6, FILTER_EFFORT_CEILING },
    { "joints[].effort_continuous",    "N m (N if prismatic)",        1e-6, FILTER_EFFORT_CEILING },
    { "joints[].heat_s",               "s",                           1e-3,        1e5 },
    { "joints[].power",                "W",                           1e-6,        1e6 },
    { "joints[].effort_error",         "N m (N if prismatic)",        1e-6, FILTER_EFFORT_CEILING },
    { "joints[].brake",                "rad/s^2 (m/s^2 if prismatic)", 1e-3,       1e5 },
    { "joints[].baseline_kp",          "N m/rad (N/m if prismatic)",     0,        1e6 },
    { "joints[].baseline_kd",          "N m s/rad (N s/m if prismatic)", 0,        1e5 },
    { "joints[].baseline_position",    "rad (m if prismatic)",       -1000,       1000 },
    { "joints[].gravity[].effort",     "N m (N if prismatic)", -FILTER_EFFORT_CEILING, FILTER_EFFORT_CEILING },
    { "joints[].gravity[].offset",     "rad",                        -1000,       1000 },
    { "action[].low",                  "",                            -1e6,        1e6 },
    { "action[].high",                 "",                            -1e6,        1e6 },
    { "action[].scale",                "N m (N if prismatic) per unit of action", -1e6, 1e6 },
    { "exploration.amplitude",         "shares of the action range",  1e-6,          1 },
    { "exploration.smoothness",        "",                               0,      0.999 },
    { "exploration.planned",           "shares of the action range",     0,          1 },
    { "exploration.planned_smoothness", "",                              0,      0.999 },
    { "exploration.planned_trials",    "trials",                         1,        1e6 },
    { "trials.count",                  "trials",                         1,     100000 },
    { "trials.random",                 "trials",                         1,       1000 },
    { "trials.steps",                  "planner steps",                  1,     100000 },
    { "trials.wait_for_model_s",       "s",                              0,       3600 },
    { "trials.seed",                   "",                               0, 9007199254740992.0 },
    { "model.members",                 "nets",                           1, MAX_MEMBERS },
    { "model.layers",                  "hidden layers",                  1, MAX_LAYERS },
    { "model.hidden",                  "units",                          1, MAX_HIDDEN },
    { "planner.horizon",               "planner steps",                  1, MAX_HORIZON },
    { "planner.population",            "candidates",                     2, MAX_POPULATION },
    { "planner.iterations",            "iterations",                     1,        100 },
    { "planner.elites",                "candidates",                     1, MAX_POPULATION },
    { "planner.particles",             "particles per candidate",        1,        128 },
    { "planner.alpha",                 "",                               0,      0.999 },
    { "planner.init_std",              "half action ranges",          1e-3,         10 },
    { "planner.init_std[]",            "half action ranges",          1e-3,         10 },
    { "planner.noise_beta",            "",                               0,         10 },
    { "planner.decay",                 "",                               1,         10 },
    { "planner.keep",                  "shares of the elites",           0,          1 },
    { "planner.epsilon",               "squared units of action",        0,        1e6 },
    { "planner.risk",                  "standard deviations",         -100,        100 },
    { "planner.lambda",                "units of cost",               1e-9,        1e9 },
    { "planner.kappa",                 "per unit of cost",            1e-9,        1e9 },
    { "planner.smoothing",             "",                            1e-3,          1 },
    { "planner.anneal",                "",                            1e-3,          1 },
    { "planner.learning_rate",         "half action ranges",          1e-6,          1 },
    { "planner.steps",                 "gradient steps",                 1,       1000 },
    { "planner.polish",                "candidates",                     1, SEARCH_POLISH },
    { "planner.first_population",      "candidates",                     2, MAX_POPULATION },
    { "planner.knots",                 "knots per action",               1, MAX_HORIZON },
    { "planner.repeat",                "planner steps",                  1, MAX_HORIZON },
    { "planner.proposals",             "candidates",                     0, MAX_POPULATION - 1 },
    { "planner.budget",                "shares of a planner step",    0.01,       0.95 },
    { "trainer.learning_rate",         "",                            1e-8,          1 },
    { "trainer.batch",                 "transitions",                    1,       4096 },
    { "trainer.epochs",                "passes over the data",           1,       1000 },
    { "trainer.min_steps",             "gradient steps",                 0,        1e6 },
    { "trainer.weight_decay[]",        "",                               0,          1 },
    { "trainer.holdout",               "shares of the transitions",      0,        0.5 },
    { "trainer.patience",              "epochs (0: no early stop)",      0,       1000 },
    { "trainer.improvement",           "shares of the score",            0,        0.5 },
    { "trainer.train_members",         "nets",                           1, MAX_MEMBERS },
    { "trainer.learning_rate_final",   "shares of the rate",             0,          1 },
    { "trainer.max_steps",             "gradient steps",                 1,        1e9 },
    { "trainer.recent",                "shares of the batch",            0,          1 },
    { "trainer.recent_trials",         "trials",                         1,       1000 },
    { "trainer.unroll",                "steps",                          1,         32 },
    { "trainer.unroll_grow",           "epochs (0: all steps at once)",  0,       1000 },
    { "trainer.unroll_weight",         "",                               0,        1e6 },
    { "trainer.reward_weight",         "",                               0,        1e6 },
    { "trainer.spectral_norm",         "",                             0.1,       1000 },
    { "trainer.nll_beta",              "",                               0,          1 },
    { "trainer.input_noise",           "shares of the inputs' std",      0,          1 },
    { "gates.plan_age",                "planner steps",               1e-3,          2 },
    { "gates.spread",                  "target standard deviations",  1e-6,        1e6 },
    { "gates.residual",                "target standard deviations",  1e-6,        1e6 },
    { "gates.position",                "shares of the position range",   0,          1 },
    { "gates.drift",                   "usual errors",                 0.1,       1000 },
    { "gates.baseline",                "control ticks",                  0,       1000 },
    { "gates.interventions",           "control ticks a second",         0,      10000 },
    { "gates.limit_dwell",             "s",                           1e-3,       3600 },
    { "gates.oscillation",             "reversals a second",           0.1,      10000 },
    { "gates.energy",                  "J",                           1e-6,        1e9 },
    { "gates.min_transitions",         "transitions",                    1,        1e6 },
    { "gates.promote_s",               "s",                            0.1,        600 },
    { "timeouts.state_stale_s",        "s",                           1e-3,          1 },
    { "timeouts.command_valid_s",      "s",                           1e-3,          1 },
    { "timeouts.robot_timeout_max_s",  "s",                           1e-3,          1 },
    { "timeouts.stop_ramp_s",          "s",                           1e-3,          1 },
    { "timeouts.stop_cap_s",           "s",                           1e-3,          2 },
    { "timeouts.reset_s",              "s",                           1e-3,       3600 },
    { "cores.main",                    "(a core's number, -1: any)",    -1,       1023 },
    { "cores.io",                      "(a core's number, -1: any)",    -1,       1023 },
    { "cores.control",                 "(a core's number, -1: any)",    -1,       1023 },
    { "cores.planner",                 "(a core's number, -1: any)",    -1,       1023 },
    { "cores.planner[]",               "(a core's number, -1: any)",    -1,       1023 },
    { "cores.control_priority",        "(a SCHED_FIFO priority)",        1,         98 },
    { "cores.io_priority",             "(a SCHED_FIFO priority)",        1,         98 },
    { "cores.planner_priority",        "(a SCHED_FIFO priority)",        1,         98 },
    { "cores.zmq_priority",            "(a SCHED_FIFO priority)",        1,         98 },
    { "cores.sim_priority",            "(a SCHED_FIFO priority)",        1,         98 },
    { "sim.timestep",                  "s",                           1e-5,        0.2 },
    { "sim.command_timeout_ms",        "ms",                             1,       1000 },
    /* the task file */
    { "frames[].links[].offset[]",     "m",                           -100,        100 },
    { "frames[].links[].axis[]",       "",                            -100,        100 },
    { "frames[].tip[]",                "m",                           -100,        100 },
    { "terms[].weight",                "",                            -1e6,        1e6 },
    { "terms[].width",                 "",                            1e-6,        1e6 },
    { "terms[].target[]",              "",                            -1e6,        1e6 },
    { "terms[].scale[]",               "",                            -1e6,        1e6 },
    { "terms[].waypoints[][]",         "m",                           -1e4,        1e4 },
    { "ends[].low",                    "",                            -1e6,        1e6 },
    { "ends[].high",                   "",                            -1e6,        1e6 },
    /* clang-format on */
};

static const struct number_rule *rule_of(const struct node *n)
{
    char key[KEY_SIZE];

    node_key(n, true, key, sizeof key);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (strcmp(rules[i].key, key) == 0)
            return &rules[i];
    fprintf(stderr, "config_check.c: no rule for %s\n", key);
    abort();
}

static size_t digits(const char **s)
{
    size_t n = strspn(*s, "0123456789");

    *s += n;
    return n;
}

/* Where a plain decimal number at the start of s ends; s itself if there is none (nan, .inf and 0x10 are none). */
static const char *number_end(const char *s, bool integer)
{
    const char *p     = s + (*s == '-' || *s == '+');
    size_t      count = digits(&p);

    if (!integer && *p == '.') {
        p++;
        count += digits(&p);
    }
    if (count == 0)
        return s;
    if (!integer && (*p == 'e' || *p == 'E')) {
        const char *e = p + 1 + (p[1] == '-' || p[1] == '+');
        if (digits(&e))
            p = e;
    }
    return p;
}

/* A number followed by letters or %, as in "25 Hz" or "300N". */
static bool has_unit(const char *s)
{
    const char *end = number_end(s, false);

    if (end == s)
        return false;
    end += strspn(end, " ");
    return isalpha((unsigned char)*end) || *end == '%' || (unsigned char)*end >= 0x80;
}

int schema_number(struct document *d, const struct node *n, bool integer, double *value)
{
    const struct number_rule *rule = rule_of(n);
    const char               *kind = integer ? "a whole number" : "a number", *of = *rule->unit ? " of " : "";
    char                      range[160];

    if (*rule->unit == '(')
        of = " ";
    else if (!integer && *rule->unit)
        of = " in ";
    snprintf(range, sizeof range, "%s%s%s from %.10g to %.10g", kind, of, rule->unit, rule->low, rule->high);

    if (n->kind != NODE_SCALAR)
        return node_fail(d, n, "expected %s, not a %s", range, n->kind == NODE_MAP ? "map" : "list");
    if (!n->quoted && has_unit(n->text) && strncmp(n->text, "0x", 2) != 0)
        return node_fail(d, n, "write the bare number; expected %s", range);

    const char *end = number_end(n->text, integer);
    if (n->quoted || end == n->text || *end)
        return node_fail(d, n, "expected %s", range);
    if (integer && n->text[strspn(n->text, "+-")] == '0' && end - n->text > 1)
        return node_fail(d, n, "expected %s, without leading zeros", range);
    *value = strtod(n->text, NULL);
    if (!(*value >= rule->low && *value <= rule->high))
        return node_fail(d, n, "expected %s", range);
    return 0;
}

int schema_name(struct document *d, const struct node *n)
{
    size_t len = strspn(n->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

    if (!isalpha((unsigned char)n->text[0]) || n->text[len] || len >= NAME_SIZE)
        return node_fail(d, n, "expected a name of letters, digits, _ and -, a letter first, at most %d long",
                         NAME_SIZE - 1);
    return 0;
}

/* --- the walk --- */

/* Letters to insert, remove or replace to make b of a (Levenshtein 1966); both shorter than 64. */
static int distance(const char *a, const char *b)
{
    int row[64];
    int n = (int)strlen(b);

    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0]       = i;
        for (int j = 1; j <= n; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]);
            int other   = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal    = row[j];
            row[j]      = replace < other ? replace : other;
        }
    }
    return row[n];
}

static int fail_unknown(struct document *d, const struct node *n, const cyaml_schema_field_t *fields)
{
    const char *nearest = NULL;
    int         best    = 3; /* letters wrong, at most */
    char        valid[400];
    size_t      used = 0;

    for (const cyaml_schema_field_t *f = fields; f->key; f++) {
        int wrong = strlen(n->key) < 64 ? distance(n->key, f->key) : best + 1;
        if (wrong <= best && (wrong < best || !nearest)) {
            best    = wrong;
            nearest = f->key;
        }
        if (used < sizeof valid)
            used += (size_t)snprintf(valid + used, sizeof valid - used, "%s%s", f == fields ? "" : ", ", f->key);
    }
    char key[KEY_SIZE], place[KEY_SIZE + 400];
    node_key(n, false, key, sizeof key);
    node_place(d, n, place, sizeof place);
    snprintf(d->why, d->why_size, "%s: %s: unknown key%s%s%s; expected one of: %s", place, key, nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "", valid);
    return -1;
}

static int check_value(struct document *d, const cyaml_schema_value_t *s, const struct node *n);

static const struct node *child_named(const struct node *map, const char *key)
{
    for (const struct node *n = map->child; n; n = n->next)
        if (strcmp(n->key, key) == 0)
            return n;
    return NULL;
}

static int check_map(struct document *d, const cyaml_schema_field_t *fields, const struct node *map)
{
    if (map->kind != NODE_MAP)
        return node_fail(d, map, "expected a map of keys and values");
    for (const struct node *n = map->child; n; n = n->next) {
        const cyaml_schema_field_t *f = fields;
        while (f->key && strcmp(f->key, n->key) != 0)
            f++;
        if (!f->key)
            return fail_unknown(d, n, fields);
        if (check_value(d, &f->value, n) < 0)
            return -1;
    }
    for (const cyaml_schema_field_t *f = fields; f->key; f++) {
        if ((f->value.flags & CYAML_FLAG_OPTIONAL) || child_named(map, f->key))
            continue;
        char at[KEY_SIZE - 64];
        node_key(map, false, at, sizeof at);
        return document_fail(d, document_key(d, "%s%s%s", at, *at ? "." : "", f->key),
                             "expected this key; it has no default");
    }
    return 0;
}

static int check_list(struct document *d, const cyaml_schema_value_t *s, const struct node *list)
{
    unsigned low = s->sequence.min, high = s->sequence.max;

    if (list->kind != NODE_LIST)
        return node_fail(d, list, "expected a list");
    if ((unsigned)list->n < low || (unsigned)list->n > high) {
        if (low == high)
            return node_fail(d, list, "expected %u entries, got %d", low, list->n);
        return node_fail(d, list, "expected %u to %u entries, got %d", low, high, list->n);
    }
    for (const struct node *n = list->child; n; n = n->next)
        if (check_value(d, s->sequence.entry, n) < 0)
            return -1;
    return 0;
}

static int check_word(struct document *d, const cyaml_schema_value_t *s, const struct node *n)
{
    char   words[200];
    size_t used = 0;

    for (uint32_t i = 0; i < s->enumeration.count; i++) {
        const char *word = s->enumeration.strings[i].str;
        if (n->kind == NODE_SCALAR && strcmp(n->text, word) == 0)
            return 0;
        used += (size_t)snprintf(words + used, sizeof words - used, "%s%s", i ? " | " : "", word);
        CHECK(used < sizeof words);
    }
    return node_fail(d, n, "expected %s", words);
}

static int check_value(struct document *d, const cyaml_schema_value_t *s, const struct node *n)
{
    double value;

    switch (s->type) {
    case CYAML_MAPPING: return check_map(d, s->mapping.fields, n);
    case CYAML_SEQUENCE:
    case CYAML_SEQUENCE_FIXED: return check_list(d, s, n);
    case CYAML_ENUM: return check_word(d, s, n);
    case CYAML_FLOAT: return schema_number(d, n, false, &value);
    case CYAML_INT:
    case CYAML_UINT: return schema_number(d, n, true, &value);
    case CYAML_IGNORE: return 0;
    case CYAML_BOOL:
        if (n->kind != NODE_SCALAR || n->quoted || (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0))
            return node_fail(d, n, "expected true | false");
        return 0;
    case CYAML_STRING:
        if (n->kind != NODE_SCALAR || !*n->text)
            return node_fail(d, n, "expected a text");
        if (strlen(n->text) > s->string.max)
            return node_fail(d, n, "expected at most %u bytes", s->string.max);
        return 0;
    default: CHECK(false); /* a kind of value that the schemas do not use */
    }
    return 0;
}

/* libcyaml reports in several lines; the first says what, the rest where.  Only the first is kept. */
__attribute__((format(printf, 3, 0))) static void keep_first(cyaml_log_t level, void *ctx, const char *format,
                                                             va_list args)
{
    struct document *d = ctx;

    (void)level;
    if (d->why[0])
        return;
    int used = snprintf(d->why, d->why_size, "%s: ", d->file);
    if (used >= 0 && (size_t)used < d->why_size)
        vsnprintf(d->why + used, d->why_size - (size_t)used, format, args);
    d->why[strcspn(d->why, "\n")] = 0;
}

static cyaml_config_t cyaml_settings(struct document *d)
{
    return (cyaml_config_t){ .log_fn    = d ? keep_first : NULL,
                             .log_ctx   = d,
                             .mem_fn    = cyaml_mem,
                             .log_level = CYAML_LOG_ERROR,
                             .flags     = CYAML_CFG_NO_ALIAS };
}

int schema_load(struct document *d, const cyaml_schema_value_t *schema, void **data)
{
    cyaml_config_t settings = cyaml_settings(d);

    *data = NULL;
    if (check_value(d, schema, d->root) < 0)
        return -1;
    d->why[0]       = 0;
    cyaml_err_t err = cyaml_load_data((const uint8_t *)d->text, d->size, &settings, schema, data, NULL);
    if (err != CYAML_OK && !d->why[0])
        snprintf(d->why, d->why_size, "%s: libcyaml: %s", d->file, cyaml_strerror(err));
    return err == CYAML_OK ? 0 : -1;
}

void schema_free(const cyaml_schema_value_t *schema, void *data)
{
    cyaml_config_t settings = cyaml_settings(NULL);

    cyaml_free(&settings, schema, data, 0);
}
