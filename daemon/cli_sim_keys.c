/* cli_sim_keys.c - see cli_sim_keys.h. */
#include "daemon/cli_sim_keys.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rt/explain.h"
#include "transport/keys.h"

/* tcp://ADDRESS:PORT as one connects to it. */
static bool reachable(const char *listens, char *out, size_t size)
{
    static const char *const all[] = { "tcp://*:", "tcp://0.0.0.0:" };

    snprintf(out, size, "%s", listens);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strncmp(listens, all[i], strlen(all[i])) == 0)
            snprintf(out, size, "tcp://127.0.0.1:%s", listens + strlen(all[i]));
    return !strchr(out, '*');
}

/* A list that cannot be read here may still be one that limberd reads. */
static bool listed(const char *clients, const char *public)
{
    struct client_list l;
    char               why[700];
    bool               found = access(clients, R_OK) != 0 && errno == EACCES;

    if (!found && clients_load(clients, &l, why, sizeof why))
        for (int i = 0; i < l.n; i++)
            found = found || (l.client[i].role == ROLE_ROBOT && strcmp(l.client[i].key, public) == 0);
    return found;
}

int sim_keys_find(struct sim_keys *k, const struct robot_config *c, const char *key, char *why, size_t size)
{
    struct key_pair own;
    char            server[KEY_TEXT];
    bool            good;

    snprintf(k->server, sizeof k->server, "%s.pub", c->curve.key);
    if (!reachable(c->endpoint, k->endpoint, sizeof k->endpoint))
        good =
            explain(why, size, "%s: a port that limberd chooses cannot be found; give endpoint a number", c->endpoint);
    else if (!key)
        good = explain(why, size,
                       "%s: over tcp:// the simulated robot needs a key of its own.  Once: limber key robot.key && "
                       "limber key --allow %s "
                       "--role robot --name simulator robot.key.pub; then the same command again with --key robot.key",
                       c->endpoint, c->curve.clients);
    else if ((good = keys_load(key, &own, why, size) && keys_load_public(k->server, server, why, size)) &&
             !listed(c->curve.clients, own.public))
        good = explain(why, size,
                       "%s: %s does not list this key as a robot, so limberd would refuse it: limber key --allow %s "
                       "--role robot --name "
                       "simulator %s",
                       key, c->curve.clients, c->curve.clients, key);
    explicit_bzero(&own, sizeof own);
    return good ? 0 : -1;
}
