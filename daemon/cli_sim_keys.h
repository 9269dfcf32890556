/* cli_sim_keys.h - what the simulated robot needs for a tcp:// endpoint, found before anything is started.
 *
 * Over tcp:// the robot side proves by a key of its own who it is, a simulated one too (docs/security.md).  limberd's own
 * public key is taken from beside its secret one (curve.key), where limber key put it. */
#ifndef DAEMON_CLI_SIM_KEYS_H
#define DAEMON_CLI_SIM_KEYS_H

#include "daemon/config.h"

struct sim_keys {
    char endpoint[ENDPOINT_SIZE]; /* to connect to: of this machine where limberd listens at all addresses */
    char server[PATH_SIZE + 8];   /* limberd's public key */
};

/* key: the robot side's key file, NULL where none was named.  0, or -1 with a sentence that says what to type. */
int sim_keys_find(struct sim_keys *k, const struct robot_config *c, const char *key, char *why, size_t why_size);

#endif
