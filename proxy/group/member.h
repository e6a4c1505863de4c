// Members of a group: the home end of subscriptions.
#pragma once

#include "proxy/group/group.h"

extern const struct dispatch_ops member_dispatch_ops; // with a struct group_home as context

// What a subscription sends (group/member_link.h), on the group's loop.
void member_on_join(struct loop_task *task);
void member_on_credit(struct loop_task *task);
void member_on_settle(struct loop_task *task);
void member_on_stop(struct loop_task *task);
void member_on_leave(struct loop_task *task);
void member_on_end(struct loop_task *task);

void members_end(struct group_home *home, enum code code, const char *text); // all are told and go
// Tells those that stop and have nothing left. One that settles, or begins to stop, is looked at by
// itself: this is for what has changed for many, a timeout or a source that is closed.
void members_check_stopped(struct group_home *home);
// Each member of the worker's groups: its connection's session and what it holds.
void members_each(const struct worker *worker,
		  void (*fn)(void *ctx, uint64_t session, uint32_t in_flight), void *ctx);
