#include "daemon/shared.h"

#include <errno.h>
#include <sys/eventfd.h>

int shared_init(struct shared *s, const struct robot_config *config)
{
    s->config = config;
    atomic_init(&s->aborted_trial, -1);
    handoff_init(&s->state_handoff);
    handoff_init(&s->command_handoff);
    handoff_init(&s->request_handoff);
    handoff_init(&s->plan_handoff);
    handoff_init(&s->model_handoff);
    handoff_init(&s->task_handoff);
    handoff_init(&s->core_handoff);
    ring_init(&s->trial_request_ring, TRIAL_REQUESTS);
    ring_init(&s->operation_ring, OPERATIONS);
    ring_init(&s->report_ring, REPORTS);
    ring_init(&s->record_ring, RECORDS);
    ring_init(&s->link_ring, LINK_NOTES);
    s->io_wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return s->io_wake_fd < 0 ? -errno : 0;
}
