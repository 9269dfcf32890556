/* test_run_dir.c - daemon/run_dir.c: whose directories are believed. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/run_dir.h"
#include "tests/fake_daemon.h"
#include "tests/test.h"

struct stage {
    char                  system[128], runtime[128], tmp[128], out[512], why[600];
    struct run_dir_places p;
};

/* Nothing exists but tmp; nobody is root. */
static void stage(struct stage *s)
{
    snprintf(s->system, sizeof s->system, "%s/run", test_dir());
    snprintf(s->runtime, sizeof s->runtime, "%s/xdg", test_dir());
    snprintf(s->tmp, sizeof s->tmp, "%s/tmp", test_dir());
    mkdir(s->tmp, 0777);
    s->p      = (struct run_dir_places){ .system = s->system, .tmp = s->tmp, .uid = geteuid() };
    s->why[0] = s->out[0] = 0;
}

static int find(struct stage *s, const char *flag, const char *config)
{
    return run_dir_find_in(&s->p, flag, config, "cartpole", s->out, sizeof s->out, s->why, sizeof s->why);
}

static int look(struct stage *s)
{
    return run_dir_lookup_in(&s->p, NULL, NULL, "cartpole", s->out, sizeof s->out, s->why, sizeof s->why);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

TEST(the_flag_beats_the_configuration_which_beats_the_default)
{
    struct stage s;
    char         flag[160], config[160];

    stage(&s);
    snprintf(flag, sizeof flag, "%s/a/b/flag", test_dir());
    snprintf(config, sizeof config, "%s/config", test_dir());
    EXPECT(find(&s, flag, config) == 0);
    EXPECT_STR(s.out, "/a/b/flag");
    EXPECT(mode_of(flag) == 0750);
    EXPECT(access(config, F_OK) != 0);
    EXPECT(find(&s, "", config) == 0);
    EXPECT_STR(s.out, "/config");
    EXPECT(s.out[0] == '/');
}

TEST(a_run_directory_open_to_others_is_refused)
{
    struct stage s;
    char         flag[160];

    stage(&s);
    snprintf(flag, sizeof flag, "%s/open", test_dir());
    mkdir(flag, 0700);
    chmod(flag, 0777);
    EXPECT(find(&s, flag, NULL) != 0);
    EXPECT_STR(s.why, "open to others");
    chmod(flag, 0755);
    EXPECT(find(&s, flag, NULL) == 0);
}

TEST(a_run_directory_of_another_user_is_refused)
{
    struct stage s;
    char         flag[160];

    stage(&s);
    snprintf(flag, sizeof flag, "%s/theirs", test_dir());
    mkdir(flag, 0700);
    s.p.uid = geteuid() + 1;
    EXPECT(find(&s, flag, NULL) != 0);
    EXPECT_STR(s.why, "belongs to user");
}

TEST(a_path_too_deep_for_a_socket_is_refused_in_words)
{
    struct stage s;
    char         flag[400];

    stage(&s);
    snprintf(flag, sizeof flag, "%s/%0100d", test_dir(), 1);
    EXPECT(find(&s, flag, NULL) != 0);
    EXPECT_STR(s.why, "too long a path for sockets");
}

TEST(robot_names_that_would_leave_the_directory_are_refused)
{
    EXPECT(run_dir_name_ok("cartpole-2_b.c"));
    EXPECT(!run_dir_name_ok("../etc"));
    EXPECT(!run_dir_name_ok("."));
    EXPECT(!run_dir_name_ok(".hidden"));
    EXPECT(!run_dir_name_ok("a/b"));
    EXPECT(!run_dir_name_ok("a b"));
    EXPECT(!run_dir_name_ok(""));
    EXPECT(!run_dir_name_ok(NULL));
}

TEST(root_and_whoever_systemd_made_it_for_use_the_system_directory)
{
    struct stage s;
    char         made[200];

    stage(&s);
    mkdir(s.system, 0755);
    snprintf(made, sizeof made, "%s/cartpole", s.system);
    mkdir(made, 0750);
    s.p.runtime = s.tmp;
    EXPECT(find(&s, NULL, NULL) == 0);
    EXPECT_STR(s.out, "/run/cartpole");
}

/* The default below /tmp; needs a user who is not root, or root in that user's place. */
static void as_user(void (*claim)(struct stage *s, const char *parent))
{
    struct stage s;
    char         parent[200];

    stage(&s);
    if (geteuid() == 0) {
        s.p.uid = 12345;
        snprintf(parent, sizeof parent, "%s/limber-12345", s.tmp);
    } else {
        snprintf(parent, sizeof parent, "%s/limber-%u", s.tmp, (unsigned)geteuid());
    }
    claim(&s, parent);
}

static void give(const struct stage *s, const char *path)
{
    if (geteuid() == 0)
        EXPECT(lchown(path, s->p.uid, (gid_t)-1) == 0);
}

static void claim_private(struct stage *s, const char *parent)
{
    char dir[300];

    snprintf(dir, sizeof dir, "%s/cartpole", parent);
    mkdir(parent, 0700);
    mkdir(dir, 0750);
    give(s, parent);
    give(s, dir);
    EXPECT(find(s, NULL, NULL) == 0);
    EXPECT_STR(s->out, "/cartpole");
    chmod(parent, 0755);
    EXPECT(find(s, NULL, NULL) != 0);
    EXPECT_STR(s->why, "open to others");
}

TEST(the_directory_below_tmp_must_be_private)
{
    as_user(claim_private);
}

static void claim_no_link(struct stage *s, const char *parent)
{
    char real[200];

    snprintf(real, sizeof real, "%s/real", test_dir());
    mkdir(real, 0700);
    give(s, real);
    EXPECT(symlink(real, parent) == 0);
    give(s, parent);
    EXPECT(find(s, NULL, NULL) != 0);
    EXPECT_STR(s->why, "symbolic link");
}

TEST(a_link_planted_in_tmp_is_refused)
{
    as_user(claim_no_link);
}

static void claim_owner(struct stage *s, const char *parent)
{
    mkdir(parent, 0700); /* root's, where the tests run as root */
    EXPECT(find(s, NULL, NULL) != 0);
    EXPECT_STR(s->why, "belongs to user");
}

TEST(a_directory_of_someone_else_below_tmp_is_refused)
{
    if (geteuid() == 0) /* nobody else can make one */
        as_user(claim_owner);
}

static void claim_session(struct stage *s, const char *parent)
{
    char dir[200], robot[300];

    snprintf(dir, sizeof dir, "%s/limber", s->runtime);
    snprintf(robot, sizeof robot, "%s/cartpole", dir);
    mkdir(s->runtime, 0700);
    mkdir(dir, 0755);
    mkdir(robot, 0750);
    give(s, dir);
    give(s, robot);
    s->p.runtime = s->runtime;
    EXPECT(find(s, NULL, NULL) == 0);
    EXPECT_STR(s->out, "/xdg/limber/cartpole");
    EXPECT(access(parent, F_OK) != 0);
}

TEST(the_session_directory_is_used_where_there_is_one)
{
    as_user(claim_session);
}

/* --- looking -------------------------------------------------------------------------------------------------- */

static int say_ok(void *ctx, const char *path, const char *body, char *reply, size_t n)
{
    (void)ctx, (void)path, (void)body;
    snprintf(reply, n, "{}");
    return 200;
}

static void count(void *ctx, const char *dir)
{
    (void)dir;
    ++*(int *)ctx;
}

static void claim_lookup(struct stage *s, const char *parent)
{
    char dir[300];
    int  alive = 0;

    EXPECT(look(s) != 0);
    EXPECT_STR(s->why, "no daemon of a robot named \"cartpole\"");
    EXPECT(access(parent, F_OK) != 0); /* looking makes nothing */

    snprintf(dir, sizeof dir, "%s/cartpole", parent);
    mkdir(parent, 0700);
    mkdir(dir, 0750);
    give(s, parent);
    give(s, dir);
    EXPECT(look(s) != 0); /* no socket */

    struct fake_daemon *f = fake_start(dir, say_ok, NULL);

    EXPECT(look(s) == 0);
    EXPECT_STR(s->out, "/cartpole");
    run_dir_each_in(&s->p, count, &alive);
    EXPECT(alive == 1);

    /* Someone else's directory of the same name is not believed. */
    if (geteuid() == 0) {
        EXPECT(lchown(parent, 54321, (gid_t)-1) == 0);
        EXPECT(look(s) != 0);
        run_dir_each_in(&s->p, count, &alive);
        EXPECT(alive == 1);
    }
    fake_end(f);
}

TEST(a_client_finds_a_daemon_of_its_own_user_and_no_other)
{
    as_user(claim_lookup);
}
