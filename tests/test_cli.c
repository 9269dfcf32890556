/* test_cli.c - limber as a person and a script meet it: words, exit codes, pictures, plots. */
#include <cairo/cairo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_args.h"
#include "daemon/cli_draw.h"
#include "daemon/cli_json.h"
#include "daemon/cli_plot.h"
#include "daemon/cli_screen.h"
#include "daemon/cli_view.h"
#include "daemon/rt/rng.h"
#include "models/store.h"
#include "tests/fake_daemon.h"
#include "tests/test.h"

static const char *const VERBS[] = { "run",  "status", "top",  "arm",    "disarm", "stop",           "reset",   "why",  "conform", "trial",
                                     "task", "sim",    "plot", "doctor", "bench",  "bench-cartpole", "bench-rt" };

/* --- the program ---------------------------------------------------------------------------------------------- */

struct result {
    int  code;
    char text[65536]; /* stdout and stderr */
};

/* Runs build/limber with `arguments` (shell syntax); what it prints and its exit code. */
static const struct result *limber(struct result *r, const char *arguments)
{
    char   command[1024];
    size_t n;

    snprintf(command, sizeof command, "XDG_RUNTIME_DIR=%s %s/limber %s 2>&1 </dev/null", test_dir(), test_build_dir(),
             arguments);
    FILE *p = popen(command, "r");

    n          = p ? fread(r->text, 1, sizeof r->text - 1, p) : 0;
    r->text[n] = 0;
    int status = p ? pclose(p) : -1;
    r->code    = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return r;
}

TEST(every_verb_explains_itself)
{
    struct result r;

    EXPECT(limber(&r, "--help")->code == 0);
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++) {
        char arguments[64];

        EXPECT_STR(r.text, VERBS[i]);
        snprintf(arguments, sizeof arguments, "%s --help", VERBS[i]);
        struct result own;

        EXPECT(limber(&own, arguments)->code == 0);
        EXPECT_STR(own.text, "usage: limber");
        EXPECT_STR(own.text, VERBS[i]);
        snprintf(arguments, sizeof arguments, "%s --no-such-flag", VERBS[i]);
        EXPECT(limber(&own, arguments)->code == 64);
        EXPECT_STR(own.text, "no-such-flag");
    }
}

TEST(a_mistyped_verb_or_flag_is_answered_with_the_nearest)
{
    struct result r;

    EXPECT(limber(&r, "statsu")->code == 64);
    EXPECT_STR(r.text, "did you mean \"status\"?");
    EXPECT(limber(&r, "status --jsno")->code == 64);
    EXPECT_STR(r.text, "did you mean \"--json\"?");
    EXPECT(limber(&r, "trial strat")->code == 64);
    EXPECT_STR(r.text, "did you mean \"start\"?");
    EXPECT(limber(&r, "")->code == 64);
    EXPECT(limber(&r, "run")->code == 64);
    EXPECT(limber(&r, "run x --trials")->code == 64);
    EXPECT(limber(&r, "run x --trials many")->code == 64);
    EXPECT_STR(r.text, "--trials many: expected a whole number");
    EXPECT(limber(&r, "bench-rt --config x --minutes nan")->code == 64);
    EXPECT(limber(&r, "status here")->code == 64);
}

TEST(a_word_that_resembles_nothing_has_no_nearest)
{
    const char *const known[] = { "status", "stop", "disarm", NULL };

    EXPECT(!args_nearest("zzz", known));
    EXPECT(args_nearest("stpo", known) && !strcmp(args_nearest("stpo", known), "stop"));
    EXPECT(!args_nearest("arm-everything-at-once-and-then-some-more", known));
}

TEST(without_a_daemon_every_verb_says_what_to_do_and_exits_69)
{
    static const char *const verbs[] = { "status", "top",         "arm --yes",  "disarm",           "stop",
                                         "reset",  "trial start", "trial list", "task set swingup", "task show" };
    struct result            r;

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char arguments[400];

        snprintf(arguments, sizeof arguments, "%s --run-dir %s", verbs[i], test_dir());
        EXPECT(limber(&r, arguments)->code == 69);
        EXPECT_STR(r.text, "start one with limberd");
    }
}

TEST(a_bad_configuration_is_told_apart_from_a_missing_daemon)
{
    struct result r;

    EXPECT(limber(&r, "status --config /no/such/robot.yaml")->code == 78);
    EXPECT_STR(r.text, "/no/such/robot.yaml");
}

/* --- verbs against a daemon ------------------------------------------------------------------------------------ */

struct daemon {
    json_t *status;
    int     code; /* of verbs */
    char    answer[2000];
    char    path[64], body[400];
    int     posts;
};

static int answer(void *ctx, const char *path, const char *body, char *reply, size_t n)
{
    struct daemon *d = ctx;

    if (!strcmp(path, "/status")) {
        char *text = json_dumps(d->status, 0);

        snprintf(reply, n, "%s", text);
        free(text);
        return d->code == 0 ? 0 : 200;
    }
    snprintf(d->path, sizeof d->path, "%s", path);
    snprintf(d->body, sizeof d->body, "%s", body);
    d->posts++;
    snprintf(reply, n, "%s", d->answer);
    return d->code;
}

static void daemon_up(struct daemon *d)
{
    *d = (struct daemon){ .status = json_loads(FAKE_STATUS, 0, NULL),
                          .code   = 200,
                          .answer = "{\"ok\": true, \"text\": \"as you wish\"}" };
    EXPECT(json_is_object(d->status));
}

static int verb(struct daemon *d, struct result *r, const char *words)
{
    char                arguments[400];
    struct fake_daemon *f = fake_start(test_dir(), answer, d);

    snprintf(arguments, sizeof arguments, "%s --run-dir %s", words, test_dir());
    limber(r, arguments);
    fake_end(f);
    return r->code;
}

static json_t *part(struct daemon *d, const char *path)
{
    return (json_t *)js_at(d->status, path);
}

TEST(status_as_json_is_the_document_itself)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    EXPECT(verb(&d, &r, "status --json") == 0);
    json_t *got = json_loads(r.text, 0, NULL);

    EXPECT(json_equal(got, d.status));
    json_decref(got);
    EXPECT(verb(&d, &r, "status") == 0);
    EXPECT_STR(r.text, "cartpole");
    EXPECT_STR(r.text, "ADVANCED");
    EXPECT(!strchr(r.text, '\033')); /* no colours where nobody sees them */
    EXPECT_STR(r.text, "heat      knee 0.43  hip 1.00");
    EXPECT(verb(&d, &r, "top") == 64);
    EXPECT_STR(r.text, "limber status");
    json_decref(d.status);
}

TEST(each_operator_verb_posts_to_its_own_path)
{
    static const char *const pairs[][3] = { { "disarm", "/disarm", "{}" },
                                            { "stop", "/stop", "{}" },
                                            { "reset", "/reset", "{}" },
                                            { "trial stop", "/trial/stop", "{}" },
                                            { "trial ready", "/trial/ready", "{}" },
                                            { "trial start", "/trial/start", "{}" },
                                            { "trial start --random --count 3", "/trial/start",
                                              "{\"kind\":\"random\",\"count\":3}" },
                                            { "task set balance", "/task", "{\"name\":\"balance\"}" },
                                            { "task set /dev/null", "/task", "{\"file\":\"/dev/null\"}" } };
    struct daemon            d;
    struct result            r;

    daemon_up(&d);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        EXPECT(verb(&d, &r, pairs[i][0]) == 0);
        EXPECT_STR(r.text, "as you wish");
        EXPECT(!strcmp(d.path, pairs[i][1]));
        EXPECT(!strcmp(d.body, pairs[i][2]));
        EXPECT(d.posts == (int)i + 1);
    }
    json_decref(d.status);
}

TEST(task_tells_which_is_in_force_and_which_there_are_beside_robot_yaml)
{
    static const char *const files[] = { "swingup.yaml", "balance.yaml", "notes.txt" };
    struct daemon            d;
    struct result            r;
    char                     path[600];

    daemon_up(&d);
    snprintf(path, sizeof path, "%s/tasks", test_dir());
    EXPECT(mkdir(path, 0700) == 0);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/tasks/%s", test_dir(), files[i]);
        FILE *f = fopen(path, "w");
        EXPECT(f && fclose(f) == 0);
    }
    snprintf(path, sizeof path, "%s/robot.yaml", test_dir());
    json_object_set_new(d.status, "config", json_string(path));
    snprintf(path, sizeof path, "%s/tasks/balance.yaml", test_dir());
    json_object_set_new(d.status, "task", json_pack("{s:s, s:s}", "name", "upright", "file", path));
    EXPECT(verb(&d, &r, "task list") == 0);
    EXPECT(strcmp(r.text, "* balance\n  swingup\n") == 0);
    EXPECT(verb(&d, &r, "task show") == 0);
    EXPECT_STR(r.text, "upright, from /");
    EXPECT(verb(&d, &r, "task list --json") == 0);
    json_t *list = json_loads(r.text, 0, NULL);
    EXPECT(json_array_size(list) == 2 && js_true(json_array_get(list, 0), "in_force"));
    json_decref(list);
    EXPECT(verb(&d, &r, "task set ./no-such.yaml") == 78);
    EXPECT_STR(r.text, "./no-such.yaml: No such file");
    EXPECT(verb(&d, &r, "task set") == 64);
    EXPECT(verb(&d, &r, "task show all") == 64);
    EXPECT(verb(&d, &r, "task sett x") == 64);
    EXPECT_STR(r.text, "did you mean \"set\"?");
    EXPECT(d.posts == 0);
    json_decref(d.status);
}

TEST(a_refusal_gives_the_daemons_sentence_and_the_failing_checks_only)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    d.code = 409;
    snprintf(d.answer, sizeof d.answer,
             "{\"ok\": false, \"error\": \"the robot side is silent\", \"prearm\": ["
             "{\"name\": \"state_fresh\", \"ok\": false, \"detail\": \"0 %% of the last second\"},"
             "{\"name\": \"model_loaded\", \"ok\": true, \"detail\": \"version 4\"}]}");
    EXPECT(verb(&d, &r, "arm --yes") == 1);
    EXPECT_STR(r.text, "refused: the robot side is silent");
    EXPECT_STR(strstr(r.text, "refused:"), "state_fresh");
    EXPECT(!strstr(strstr(r.text, "refused:"), "model_loaded"));
    json_decref(d.status);
}

TEST(arm_shows_every_check_and_arms_a_simulated_robot_with_yes)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    EXPECT(verb(&d, &r, "arm --yes") == 0);
    EXPECT_STR(r.text, "state_fresh");
    EXPECT_STR(r.text, "100 % of the last second");
    EXPECT_STR(r.text, "model_loaded");
    EXPECT(!strcmp(d.path, "/arm"));
    EXPECT_STR(d.body, "\"yes\":true");
    EXPECT_STR(d.body, "\"explore\":false");
    json_decref(d.status);
}

TEST(arm_asks_nothing_of_the_daemon_while_a_check_fails)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    json_object_set_new(json_array_get(part(&d, "prearm"), 1), "ok", json_false());
    EXPECT(verb(&d, &r, "arm --yes") == 1);
    EXPECT_STR(r.text, "1 pre-arm check fails");
    EXPECT(d.posts == 0);
    json_decref(d.status);
}

TEST(arm_without_yes_and_without_a_terminal_does_nothing)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    EXPECT(verb(&d, &r, "arm") == 1);
    EXPECT(d.posts == 0);
    json_decref(d.status);
}

TEST(real_hardware_is_never_armed_from_a_script)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    json_object_set_new(d.status, "hardware", json_string("real"));
    EXPECT(verb(&d, &r, "arm --yes --explore") == 1);
    EXPECT_STR(r.text, "real hardware");
    EXPECT(d.posts == 0);

    /* A robot side that does not say that it is simulated counts as real, whatever the configuration says. */
    json_object_set_new(d.status, "hardware", json_string("sim"));
    json_object_set_new(part(&d, "link"), "simulated", json_false());
    EXPECT(verb(&d, &r, "arm --yes") == 1);
    json_object_del(part(&d, "link"), "simulated");
    EXPECT(verb(&d, &r, "arm --yes") == 1);
    EXPECT(d.posts == 0);
    json_decref(d.status);
}

TEST(a_daemon_that_hangs_or_talks_nonsense_is_reported_not_waited_for)
{
    struct daemon d;
    struct result r;

    daemon_up(&d);
    d.code = 0;
    EXPECT(verb(&d, &r, "status") == 69);
    EXPECT_STR(r.text, "does not answer");
    d.code = 200;
    json_decref(d.status);
    d.status = json_array();
    EXPECT(verb(&d, &r, "status") == 69);
    EXPECT_STR(r.text, "is not limberd");
    json_decref(d.status);
}

/* --- pictures ------------------------------------------------------------------------------------------------- */

static int widest(const struct screen *s)
{
    int   most = 0;
    char *text = strdup(s->text ? s->text : ""), *rest;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        most = screen_columns(line) > most ? screen_columns(line) : most;
    free(text);
    return most;
}

static void draw_all(struct screen *s, const json_t *status)
{
    view_live(s, status);
    view_status(s, status);
    view_trials(s, status);
    view_heartbeat(s, status);
    view_stop(s, status);
    view_prearm(s, js_at(status, "prearm"));
}

TEST(no_line_is_wider_than_the_terminal)
{
    json_t *status = json_loads(FAKE_STATUS, 0, NULL);

    json_object_set_new(
        status, "stop",
        json_pack(
            "{s:s, s:s, s:s, s:i}", "code", "state_stale", "cause",
            "no joint state arrived for so long that nobody could still know where the robot is", "remedy",
            "look at the cable, then limber reset, and then a word-of-more-than-forty-characters-that-cannot-wrap",
            "tick", 55));
    json_object_set_new(status, "latched", json_true());
    for (int width = 20; width <= 200; width++) {
        struct screen s = { .width = width, .colour = width % 2 };

        draw_all(&s, status);
        EXPECT(widest(&s) <= width);
        EXPECT(s.lines > 20);
        screen_free(&s);
    }
    json_decref(status);
}

TEST(the_live_view_shows_what_was_asked_for)
{
    static const char *const parts[] = { "cartpole",   "ADVANCED",
                                         "RUNNING",    "step 57/200",
                                         "31.2",       "best 170.1",
                                         "version 4",  "0.031",
                                         "training",   "icem",
                                         "avx512",     "p50 2.71",
                                         "p99 3.02",   "max 4.04",
                                         "24.0 ms",    "25 Hz",
                                         "ticks 5512", "misses 6",
                                         "202 us",     "101 us",
                                         "12 ms",      "99 %",
                                         "commands 7", "missing 2",
                                         "▁█",         "trial 2 finished",
                                         "1:23" };
    json_t                  *status  = json_loads(FAKE_STATUS, 0, NULL);
    struct screen            s       = { .width = 110 };

    view_live(&s, status);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        EXPECT_STR(s.text, parts[i]);
    EXPECT(s.lines < 24);
    screen_free(&s);
    json_decref(status);
}

TEST(a_latched_stop_is_shown_with_cause_and_remedy)
{
    json_t       *status = json_loads(FAKE_STATUS, 0, NULL);
    struct screen s      = { .width = 100 };

    json_object_set_new(status, "latched", json_true());
    json_object_set_new(status, "stop",
                        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i}", "code", "state_stale", "cause",
                                  "no state for 0.2 s", "remedy", "check the cable", "tick", 5512, "trial", 3, "step",
                                  57));
    view_live(&s, status);
    EXPECT_STR(s.text, "state_stale");
    EXPECT_STR(s.text, "no state for 0.2 s");
    EXPECT_STR(s.text, "check the cable");
    EXPECT_STR(s.text, "trial 3, step 57");
    EXPECT_STR(s.text, "limber reset");
    screen_free(&s);
    json_decref(status);
}

/* Removes, nulls or replaces some values anywhere in the document. */
static void damage(json_t *v, struct rng *r)
{
    const char *key;
    json_t     *child;
    void       *next;
    size_t      i;

    json_object_foreach_safe(v, next, key, child)
    {
        switch (rng_below(r, 8)) {
        case 0: json_object_del(v, key); break;
        case 1: json_object_set_new(v, key, json_null()); break;
        case 2: json_object_set_new(v, key, json_string("\033[2Jtext where none was expected")); break;
        case 3: json_object_set_new(v, key, json_real(-1e300)); break;
        default: damage(child, r); break;
        }
    }
    json_array_foreach(v, i, child)
    {
        damage(child, r);
    }
}

TEST(a_damaged_document_is_drawn_without_harm_to_terminal_or_program)
{
    struct rng r;

    rng_seed(&r, 7);
    for (int i = 0; i < 2000; i++) {
        json_t       *status = json_loads(FAKE_STATUS, 0, NULL);
        struct screen s      = { .width = 80 };

        damage(status, &r);
        draw_all(&s, status);
        EXPECT(widest(&s) <= 80);
        EXPECT(!strchr(s.text, '\033'));
        screen_free(&s);
        json_decref(status);
    }
}

TEST(control_characters_and_broken_utf8_never_reach_the_terminal)
{
    struct screen s = { .width = 40 };

    screen_line(&s, "%s",
                "a\033[2J\rb\x9b"
                "31m\xc2\x9b\xff\xe2\x96"
                "c\x7f");
    for (const char *p = s.text; *p; p++)
        EXPECT(*p == '\n' || ((unsigned char)*p >= 0x20 && (unsigned char)*p != 0x7f));
    EXPECT_STR(s.text, "a[2Jb31m");
    EXPECT(!strchr(s.text, (char)0x9b) && !strchr(s.text, (char)0xff));
    screen_free(&s);
}

/* --- small drawings --------------------------------------------------------------------------------------------- */

/* Height 0 .. 7 of the i-th sign of a sparkline; -1 for a gap. */
static int height(const char *line, int i)
{
    const unsigned char *p = (const unsigned char *)line;

    for (; i > 0 && *p; i--)
        p += *p == ' ' ? 1 : 3;
    return *p == ' ' ? -1 : p[0] == 0xe2 && p[1] == 0x96 ? p[2] - 0x81 : -2;
}

TEST(a_sparkline_never_falls_where_the_value_rises)
{
    struct rng r;

    rng_seed(&r, 3);
    for (int round = 0; round < 500; round++) {
        double v[40];
        char   line[200];
        int    n = 1 + (int)rng_below(&r, 40);

        for (int i = 0; i < n; i++)
            v[i] = rng_below(&r, 6) ? rng_normal(&r) * pow(10, (double)rng_below(&r, 300) - 150) : (double)NAN;
        spark(line, sizeof line, v, n, 40);
        EXPECT(screen_columns(line) == n);
        for (int i = 0; i < n; i++) {
            EXPECT((height(line, i) == -1) == isnan(v[i]));
            for (int k = 0; k < n; k++)
                EXPECT(!(v[i] < v[k]) || height(line, i) <= height(line, k));
        }
    }
}

TEST(a_sparkline_shows_the_newest_values_and_uses_its_whole_height)
{
    double v[] = { 1e9, 1, 2, 3 };
    char   line[64];

    spark(line, sizeof line, v, 4, 3);
    EXPECT(!strcmp(line, "▁▅█"));
    spark(line, sizeof line, v, 1, 3);
    EXPECT(screen_columns(line) == 1 && height(line, 0) >= 0);
    spark(line, sizeof line, v, 0, 3);
    EXPECT(!line[0]);
}

TEST(a_bar_has_its_width_whatever_the_share)
{
    static const double shares[] = { 0, 0.001, 0.333, 0.5, 0.9999, 1, 7, -3, (double)NAN };
    char                line[256];

    for (int width = 1; width < 40; width++) {
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
            bar(line, sizeof line, shares[i], width);
            EXPECT(screen_columns(line) == width);
        }
    }
}

/* --- learning curves ---------------------------------------------------------------------------------------------- */

TEST(the_running_maximum_decides_when_a_level_is_reached)
{
    static struct curve c = { .n = 5, .ret = { 10, 171, 5, 180, 176 } };

    EXPECT(curve_first(&c, 170) == 2);
    EXPECT(curve_first(&c, 175) == 4);
    EXPECT(curve_first(&c, 180) == 4);
    EXPECT(curve_first(&c, 180.5) == 0);
    EXPECT_NEAR(curve_best(&c, 2), 171, 0);
    EXPECT_NEAR(curve_best(&c, 4), 180, 0);
}

TEST(the_median_counts_only_the_seeds_that_came_so_far)
{
    struct curve *c = calloc(3, sizeof *c);

    c[0].n = 2, c[0].ret[0] = 1, c[0].ret[1] = 9;
    c[1].n = 1, c[1].ret[0] = 5;
    c[2].n = 2, c[2].ret[0] = 3, c[2].ret[1] = 2;
    EXPECT_NEAR(curve_median_best(c, 3, 0), 3, 0);
    EXPECT_NEAR(curve_median_best(c, 3, 1), 6, 0); /* of 9 and 3 */
    EXPECT(isnan(curve_median_best(c, 3, 2)));
    free(c);
}

static void expect_picture(const char *png)
{
    cairo_surface_t *image = cairo_image_surface_create_from_png(png);
    uint32_t         other = 0;

    EXPECT(cairo_surface_status(image) == CAIRO_STATUS_SUCCESS);
    if (cairo_surface_status(image) == CAIRO_STATUS_SUCCESS) {
        EXPECT(cairo_image_surface_get_width(image) == PLOT_WIDTH);
        EXPECT(cairo_image_surface_get_height(image) == PLOT_HEIGHT);
        const unsigned char *p = cairo_image_surface_get_data(image);

        for (int i = 0; i < PLOT_WIDTH * PLOT_HEIGHT; i++)
            other += p[4 * i] != 255 || p[4 * i + 1] != 255 || p[4 * i + 2] != 255;
    }
    EXPECT(other > 5000 && other < PLOT_WIDTH * PLOT_HEIGHT / 4); /* light, and not empty */
    cairo_surface_destroy(image);
}

TEST(a_plot_is_a_png_of_the_announced_size_whatever_the_numbers)
{
    static const double levels[] = { 170, 180 };
    struct curve       *c        = calloc(12, sizeof *c);
    char                png[300], why[300];
    struct rng          r;

    rng_seed(&r, 5);
    snprintf(png, sizeof png, "%s/plot.png", test_dir());
    for (int k = 0; k < 12; k++) {
        c[k].n      = k < 2 ? k : 15; /* none, one, many */
        c[k].random = k % 2 ? (double)NAN : 2;
        for (int i = 0; i < c[k].n; i++)
            c[k].ret[i] = k == 2 ? -1e6 * i : k == 3 ? 7 : 180 * (1 - exp(-i / 3.0)) + 5 * rng_normal(&r);
    }
    for (int k = 0; k < 5; k++) {
        EXPECT(plot_curves(png, "one", &c[k], 1, NULL, 0, why, sizeof why) == 0);
        expect_picture(png);
    }
    EXPECT(plot_curves(png, "many", c + 3, 9, levels, 2, why, sizeof why) == 0);
    expect_picture(png);
    EXPECT(plot_curves("/no/such/directory/x.png", "none", c, 1, NULL, 0, why, sizeof why) != 0);
    EXPECT_STR(why, "/no/such/directory/x.png");
    free(c);
}

static void add_trial(struct store *s, uint32_t number, const char *kind, const char *status, double ret)
{
    struct trial_row t = {
        .number = number, .ret = ret, .reported_return = (double)NAN, .prequential_rmse = (double)NAN
    };

    snprintf(t.kind, sizeof t.kind, "%s", kind);
    snprintf(t.status, sizeof t.status, "%s", "running");
    EXPECT(store_trial_begin(s, &t) == 0);
    snprintf(t.status, sizeof t.status, "%s", status);
    EXPECT(store_trial_update(s, &t) == 0);
}

TEST(a_learning_curve_is_read_from_the_store_without_aborted_trials)
{
    struct store_schema schema = {
        .robot = "cartpole", .nx = 1, .na = 1, .observation = { "hinge.position" }, .action = { "slider" }
    };
    struct curve *c = calloc(1, sizeof *c);
    char          path[300], png[300], why[300], arguments[700];
    struct result r;

    snprintf(path, sizeof path, "%s/experience.db", test_dir());
    snprintf(png, sizeof png, "%s/curve.png", test_dir());
    struct store *s = store_open(path, &schema, false, why, sizeof why);

    EXPECT(s != NULL);
    if (s) {
        add_trial(s, 0, "random", "finished", 2.5);
        add_trial(s, 1, "planned", "finished", 60);
        add_trial(s, 2, "planned", "aborted", 999);
        add_trial(s, 2, "planned", "finished", 150);
        add_trial(s, 3, "planned", "running", (double)NAN);

        /* while the daemon still has it open */
        EXPECT(curve_load(path, c, why, sizeof why) == 0);
        EXPECT(c->n == 2);
        EXPECT_NEAR(c->ret[0], 60, 0);
        EXPECT_NEAR(c->ret[1], 150, 0);
        EXPECT_NEAR(c->random, 2.5, 0);
        store_close(s);
    }
    snprintf(arguments, sizeof arguments, "plot --store %s --out %s", path, png);
    EXPECT(limber(&r, arguments)->code == 0);
    expect_picture(png);
    EXPECT(limber(&r, "plot --store /no/such.db --out x.png")->code == 1);
    EXPECT_STR(r.text, "/no/such.db");
    EXPECT(limber(&r, "plot --store x.db")->code == 64);
    free(c);
}

TEST(doctor_warns_of_a_planner_that_holds_up_the_simulated_robot)
{
    char command[1000];
    static const struct {
        const char *cores;
        bool        warns;
    } cases[] = { { "main: 0, io: 0, control: 0, planner: [-1, 0]", true },
                  { "main: 0, io: 0, control: 0, planner: [-1, 0], sim_priority: 71", false },
                  { "main: 0, io: 0, control: 0, planner: [-1, -1]", false } };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct result r;

        snprintf(command, sizeof command,
                 "cp -r robots/cartpole/* %s/ && sed -i 's/^lockstep: true/lockstep: false/; s/^cores: .*/cores: {%s}/' "
                 "%s/robot.yaml", test_dir(), cases[i].cores, test_dir());
        EXPECT(system(command) == 0);
        snprintf(command, sizeof command, "doctor --config %s/robot.yaml", test_dir());
        limber(&r, command);
        EXPECT(test_contains(r.text, "its states come late") == cases[i].warns);
        EXPECT(test_contains(r.text, "may be used"));
    }
}

TEST(doctor_gives_a_remedy_for_everything_that_is_not_well)
{
    struct result r;
    json_t       *all;
    size_t        i;
    json_t       *c;
    bool          bad = false;

    limber(&r, "doctor --json --config robots/cartpole/robot.yaml");
    all = json_loads(r.text, 0, NULL);
    EXPECT(json_array_size(json_object_get(all, "checks")) >= 11);
    json_array_foreach(json_object_get(all, "checks"), i, c)
    {
        EXPECT(js_str(c, "name", "")[0] && js_str(c, "detail", "")[0]);
        EXPECT(!strcmp(js_str(c, "level", ""), "ok") == !js_str(c, "remedy", "")[0]);
        bad |= !strcmp(js_str(c, "level", ""), "bad");
    }
    EXPECT(js_true(all, "ok") == !bad);
    EXPECT(r.code == (bad ? 1 : 0));
    json_decref(all);
    EXPECT(limber(&r, "doctor --config /no/such.yaml")->code == 1);
    EXPECT_STR(r.text, "/no/such.yaml");
}
