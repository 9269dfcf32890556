/* test_task.c - costs and frames against hand-made numbers and an independent way to turn a vector. */
#include <math.h>
#include <string.h>

#include "daemon/rt/rng.h"
#include "planner/task.h"
#include "tests/test.h"

static double uniform(struct rng *r)
{
    return 2 * rng_uniform(r) - 1;
}

static struct task cartpole(void)
{
    struct task t = { .return_at = RETURN_AT_NEXT, .nframe = 1, .nterm = 2 };

    t.frame[0] = (struct task_frame){ .nlink = 2,
                                      .link  = { { .obs = 0, .type = JOINT_PRISMATIC, .axis = { 1, 0, 0 } },
                                                 { .obs = 1, .type = JOINT_CONTINUOUS, .axis = { 0, 1, 0 } } },
                                      .tip   = { 0, 0, -0.6 } };
    t.term[0]  = (struct task_term){
         .kind = TERM_FRAME, .form = FORM_EXP, .weight = -1, .width = 0.6, .target = { 0, 0, 0.6 }, .scale = { 1, 0, 1 }
    };
    t.term[1] = (struct task_term){ .kind = TERM_EFFORT, .weight = 0.01 };
    return t;
}

TEST(cart_pole_tip_and_reward_follow_the_published_formula)
{
    struct task t = cartpole();
    struct rng  r;

    rng_seed(&r, 1);
    for (int k = 0; k < 100; k++) {
        float x[4] = { 0 }, next[4] = { (float)uniform(&r), (float)(4 * uniform(&r)), 1, 2 },
              a = (float)(3 * uniform(&r));
        double p[3], px = (double)next[0] - 0.6 * sin((double)next[1]), pz = -0.6 * cos((double)next[1]);

        task_frame_position(&t, 0, next, p);
        EXPECT_NEAR(p[0], px, 1e-12);
        EXPECT_NEAR(p[1], 0, 1e-12);
        EXPECT_NEAR(p[2], pz, 1e-12);
        double want = exp(-(px * px + (pz - 0.6) * (pz - 0.6)) / 0.36) - 0.01 * (double)a * (double)a;
        EXPECT_NEAR(task_reward(&t, x, &a, 1, next), want, 1e-12);
    }
}

TEST(upright_at_rest_without_effort_is_worth_exactly_one)
{
    struct task t    = cartpole();
    float       x[4] = { 0, (float)M_PI, 0, 0 }, a = 0;

    EXPECT_NEAR(task_reward(&t, x, &a, 1, x), 1, 1e-12);
}

TEST(return_at_chooses_the_scored_state)
{
    struct task t    = { .nterm = 1 };
    float       x[1] = { 2 }, next[1] = { 3 }, a[1] = { 0 };

    t.term[0]   = (struct task_term){ .kind = TERM_OBSERVATION, .weight = 1, .n = 1, .scale = { 1 } };
    t.return_at = RETURN_AT_NEXT;
    EXPECT_NEAR(task_reward(&t, x, a, 1, next), -9, 0);
    t.return_at = RETURN_AT_CURRENT;
    EXPECT_NEAR(task_reward(&t, x, a, 1, next), -4, 0);
}

TEST(observation_terms_weigh_scale_and_sum_their_entries)
{
    struct task t    = { .nterm = 2 };
    float       x[5] = { 9, 1, 2, 3, 4 }, a[2] = { 3, -4 };

    t.term[0] = (struct task_term){
        .kind = TERM_OBSERVATION, .weight = 0.5, .n = 2, .index = { 1, 4 }, .target = { 0.5, 1 }, .scale = { 2, -1 }
    };
    t.term[1] = (struct task_term){ .kind = TERM_EFFORT, .weight = 0.1, .form = FORM_EXP, .width = 5 };
    EXPECT_NEAR(task_obs_cost(&t, x), 0.5 * (1 * 1 + 3 * 3), 1e-12);
    EXPECT_NEAR(task_act_cost(&t, a, 2), 0.1 * exp(-1), 1e-12); /* |a|^2 = 25 = width^2 */
}

TEST(an_absolute_form_adds_distances_and_a_linear_one_differences)
{
    struct task t    = { .nterm = 1 };
    float       x[4] = { 1, -2, 0.5f, 4 }, a[2] = { 3, -4 };

    t.term[0] = (struct task_term){ .kind   = TERM_OBSERVATION,
                                    .form   = FORM_ABS,
                                    .weight = 0.5,
                                    .n      = 2,
                                    .index  = { 0, 1 },
                                    .target = { 3, 1 },
                                    .scale  = { 2, -1 } };
    EXPECT_NEAR(task_obs_cost(&t, x), 0.5 * (2 * 2 + 3), 1e-12);
    t.term[0].form = FORM_LINEAR;
    EXPECT_NEAR(task_obs_cost(&t, x), 0.5 * (-2 * 2 + 3), 1e-12);
    t.term[0].target_observed = true;
    t.term[0].target_obs[0]   = 2;
    t.term[0].target_obs[1]   = 3;
    EXPECT_NEAR(task_obs_cost(&t, x), 0.5 * (-2.5 * 2 + 7), 1e-12);
    t.term[0] = (struct task_term){ .kind = TERM_EFFORT, .form = FORM_ABS, .weight = 0.1 };
    EXPECT_NEAR(task_act_cost(&t, a, 2), 0.7, 1e-12);
    t              = cartpole();
    t.term[0].form = FORM_ABS; /* hanging at x = 1: 1 m aside and 1.2 m below */
    x[1]           = 0;
    EXPECT_NEAR(task_obs_cost(&t, x), -2.2, 1e-12);
}

TEST(the_cost_of_forward_speed_of_a_running_robot_is_its_negative)
{
    struct task t    = { .nterm = 1 };
    float       x[2] = { 0, 3.5f }, a = 0;

    t.term[0] = (struct task_term){
        .kind = TERM_OBSERVATION, .form = FORM_LINEAR, .weight = -1, .n = 1, .index = { 1 }, .scale = { 1 }
    };
    EXPECT_NEAR(task_reward(&t, x, &a, 1, x), 3.5, 1e-12);
}

static struct task follow(int kind, int n, const double point[][2])
{
    struct task t = { .nterm = 1 };

    t.term[0]        = (struct task_term){ .kind = (enum term_kind)kind, .weight = 1, .index = { 0, 1 } };
    t.term[0].path.n = n;
    memcpy(t.term[0].path.point, point, (size_t)n * sizeof *point);
    task_path_lay(&t.term[0].path);
    return t;
}

TEST(the_nearest_point_of_a_path_is_the_nearest_of_many_along_it)
{
    struct rng r;

    rng_seed(&r, 4);
    for (int trial = 0; trial < 50; trial++) {
        double point[MAX_WAYPOINTS][2], best = 1e9, at = 0, before = 0;
        int    n    = 2 + (int)rng_below(&r, MAX_WAYPOINTS - 1);
        float  x[2] = { (float)(3 * uniform(&r)), (float)(3 * uniform(&r)) };

        for (int i = 0; i < n; i++)
            for (int k = 0; k < 2; k++)
                point[i][k] = 2 * uniform(&r);
        for (int i = 0; i + 1 < n; i++) {
            double dx = point[i + 1][0] - point[i][0], dy = point[i + 1][1] - point[i][1];

            for (int k = 0; k <= 4000; k++) {
                double px = point[i][0] + dx * k / 4000, py = point[i][1] + dy * k / 4000;
                double d = hypot((double)x[0] - px, (double)x[1] - py);

                if (d < best) {
                    best = d;
                    at   = before + hypot(dx, dy) * k / 4000;
                }
            }
            before += hypot(dx, dy);
        }
        struct task path = follow(TERM_PATH, n, point), progress = follow(TERM_PROGRESS, n, point);

        EXPECT_NEAR(task_obs_cost(&path, x), best * best, 3e-3);
        path.term[0].form = FORM_ABS;
        EXPECT_NEAR(task_obs_cost(&path, x), best, 1e-3);
        EXPECT_NEAR(task_potential(&progress, x), at, 2e-3);
        EXPECT(task_obs_cost(&progress, x) == 0 && task_potential(&path, x) == 0);
    }
}

TEST(progress_saturates_at_the_end_of_the_path_and_belongs_to_its_first_passage)
{
    static const double eight[][2] = { { 0, 0 }, { 4, 0 }, { 4, 2 }, { 2, 2 }, { 2, -2 } }; /* crosses itself at 2, 0 */
    struct task         progress = follow(TERM_PROGRESS, 5, eight), path = follow(TERM_PATH, 5, eight);
    float               x[][2] = { { -1, 0 }, { 1, 0.5f }, { 2, 0 }, { 2, -1.5f }, { 2, -7 } };

    EXPECT_NEAR(task_potential(&progress, x[0]), 0, 1e-12);
    EXPECT_NEAR(task_potential(&progress, x[1]), 1, 1e-12);
    EXPECT_NEAR(task_potential(&progress, x[2]), 2, 1e-12);
    EXPECT_NEAR(task_potential(&progress, x[3]), 4 + 2 + 2 + 3.5, 1e-12);
    EXPECT_NEAR(task_potential(&progress, x[4]), 4 + 2 + 2 + 4, 1e-12);
    EXPECT_NEAR(task_obs_cost(&path, x[4]), 25, 1e-12);
}

TEST(the_rewards_of_progress_add_up_to_the_way_made_good)
{
    static const double corner[][2] = { { 0, 0 }, { 3, 0 }, { 3, 3 } };
    struct task         t           = follow(TERM_PROGRESS, 3, corner);
    struct rng          r;
    float               x[2] = { 0.5f, 0.1f }, next[2], a = 0;
    double              sum = 0;

    rng_seed(&r, 5);
    t.term[0].weight = -2;
    for (int h = 0; h < 20; h++) {
        next[0] = (float)(4 * uniform(&r));
        next[1] = (float)(4 * uniform(&r));
        if (h == 19) {
            next[0] = 3.2f;
            next[1] = 2;
        }
        sum += task_reward(&t, x, &a, 1, next);
        memcpy(x, next, sizeof x);
    }
    EXPECT_NEAR(sum, 2 * (5 - 0.5), 1e-6);
}

TEST(a_step_alive_is_worth_its_weight_and_the_first_bound_left_is_named)
{
    struct task t    = { .nterm = 1, .nend = 2 };
    float       x[3] = { 0 }, a = 0;

    t.term[0] = (struct task_term){ .kind = TERM_ALIVE, .weight = -1 };
    t.end[0]  = (struct task_end){ .obs = 0, .low = -0.2, .high = 0.2 };
    t.end[1]  = (struct task_end){ .obs = 2, .low = (double)-INFINITY, .high = 1 };
    EXPECT_NEAR(task_reward(&t, x, &a, 1, x), 1, 0);
    EXPECT(task_ended(t.end, t.nend, x) == -1);
    x[2] = -1e30f;
    EXPECT(task_ended(t.end, t.nend, x) == -1);
    x[2] = 1.5f;
    EXPECT(task_ended(t.end, t.nend, x) == 1);
    x[0] = -0.3f;
    EXPECT(task_ended(t.end, t.nend, x) == 0);
    x[0] = NAN;
    x[2] = 0;
    EXPECT(task_ended(t.end, t.nend, x) == 0);
}

/* v turned about unit vector k by angle q, by quaternion: v + 2 s (u x v) + 2 u x (u x v), u = k sin(q/2), s = cos(q/2) */
static void turned(double v[3], const double k[3], double q)
{
    double s = cos(q / 2), u[3], c[3], d[3];

    for (int i = 0; i < 3; i++)
        u[i] = k[i] * sin(q / 2);
    for (int i = 0; i < 3; i++)
        c[i] = u[(i + 1) % 3] * v[(i + 2) % 3] - u[(i + 2) % 3] * v[(i + 1) % 3];
    for (int i = 0; i < 3; i++)
        d[i] = u[(i + 1) % 3] * c[(i + 2) % 3] - u[(i + 2) % 3] * c[(i + 1) % 3];
    for (int i = 0; i < 3; i++)
        v[i] += 2 * s * c[i] + 2 * d[i];
}

TEST(a_chain_of_any_joints_agrees_with_turning_the_tip_back_link_by_link)
{
    struct rng r;

    rng_seed(&r, 2);
    for (int trial = 0; trial < 200; trial++) {
        struct task        t = { .nframe = 1 };
        struct task_frame *f = &t.frame[0];
        float              x[MAX_LINKS];

        f->nlink = 1 + (int)rng_below(&r, MAX_LINKS);
        for (int l = 0; l < f->nlink; l++) {
            double norm = 0;

            for (int i = 0; i < 3; i++) {
                f->link[l].offset[i] = uniform(&r);
                f->link[l].axis[i]   = uniform(&r);
                norm += f->link[l].axis[i] * f->link[l].axis[i];
            }
            for (int i = 0; i < 3; i++)
                f->link[l].axis[i] /= sqrt(norm);
            f->link[l].obs  = (int)rng_below(&r, 4) ? l : -1;
            f->link[l].type = (enum joint_type)(1 + rng_below(&r, 3));
            x[l]            = (float)(3 * uniform(&r));
        }
        for (int i = 0; i < 3; i++)
            f->tip[i] = uniform(&r);

        /* From the tip inwards: no orientation matrix is ever built. */
        double v[3] = { f->tip[0], f->tip[1], f->tip[2] }, p[3];
        for (int l = f->nlink - 1; l >= 0; l--) {
            const struct task_link *link = &f->link[l];

            if (link->obs >= 0 && link->type != JOINT_PRISMATIC)
                turned(v, link->axis, (double)x[link->obs]);
            for (int i = 0; i < 3; i++)
                v[i] += link->offset[i] +
                        (link->obs >= 0 && link->type == JOINT_PRISMATIC ? link->axis[i] * (double)x[link->obs] : 0);
        }
        task_frame_position(&t, 0, x, p);
        for (int i = 0; i < 3; i++)
            EXPECT_NEAR(p[i], v[i], 1e-10);
    }
}

TEST(a_target_that_is_observed_moves_with_the_observations)
{
    struct task fixed = cartpole(), moving = cartpole();
    struct rng  r;

    moving.term[0].target_observed = true;
    moving.term[0].target_obs[0]   = 4;
    moving.term[0].target_obs[1]   = 2;
    moving.term[0].target_obs[2]   = 3;
    rng_seed(&r, 3);
    for (int k = 0; k < 100; k++) {
        float x[5];

        for (int i = 0; i < 5; i++)
            x[i] = (float)uniform(&r);
        for (int i = 0; i < 3; i++) {
            moving.term[0].target[i] = uniform(&r); /* an offset */
            fixed.term[0].target[i]  = moving.term[0].target[i] + (double)x[moving.term[0].target_obs[i]];
        }
        EXPECT_NEAR(task_obs_cost(&moving, x), task_obs_cost(&fixed, x), 1e-12);
    }
}

TEST(nan_in_a_scored_observation_is_nan_cost)
{
    struct task t    = cartpole();
    float       x[4] = { NAN, 0, 0, 0 };

    for (int form = FORM_SQUARED; form <= FORM_LINEAR; form++) {
        t.term[0].form = (enum term_form)form;
        EXPECT(isnan(task_obs_cost(&t, x)));
    }
    for (int i = 0; i < 2; i++) {
        static const double line[][2] = { { 0, 0 }, { 1, 0 }, { 1, 1 } };
        struct task         path = follow(TERM_PATH, 3, line), progress = follow(TERM_PROGRESS, 3, line);
        float               y[2] = { 0.2f, 0.3f };

        y[i] = NAN;
        EXPECT(isnan(task_obs_cost(&path, y)) && isnan(task_potential(&progress, y)));
    }
}

TEST(shaping_moves_the_planner_but_earns_nothing)
{
    struct task  t = { .nterm = 4 };
    const float  x[2] = { 0.5f, 2 }, y[2] = { 1.5f, -1 }, a[1] = { 3 };
    const double point[2][2] = { { 0, 0 }, { 9, 0 } };

    t.term[0] = (struct task_term){ .kind = TERM_OBSERVATION, .form = FORM_LINEAR, .weight = 2, .n = 1, .scale = { 1 } };
    t.term[1] = (struct task_term){ .kind = TERM_OBSERVATION, .weight = 5, .n = 1, .index = { 1 }, .scale = { 1 } };
    t.term[2] = (struct task_term){ .kind = TERM_EFFORT, .weight = 0.1 };
    t.term[3] = (struct task_term){ .kind = TERM_PROGRESS, .weight = -7, .n = 2, .index = { 0, 1 } };
    t.term[3].path.n = 2;
    memcpy(t.term[3].path.point, point, sizeof point);
    task_path_lay(&t.term[3].path);

    double all = task_reward(&t, x, a, 1, y), cost = task_obs_cost(&t, y);

    EXPECT_NEAR(all, -(3 + 5 + 0.9 - 7), 1e-6);
    for (int k = 0; k < 4; k++) {
        static const double pays[] = { -3, -5, -0.9, 7 };

        t.term[k].shaping = true;
        EXPECT_NEAR(task_reward(&t, x, a, 1, y), all - pays[k], 1e-6);
        EXPECT(task_obs_cost(&t, y) == cost);
        EXPECT_NEAR(task_act_cost(&t, a, 1), 0.9, 1e-6);
        EXPECT_NEAR(task_potential(&t, y), -10.5, 1e-6);
        t.term[k].shaping = false;
    }
}
