// What group.c (source and life of a group) and member.c (its members and engine) need of each
// other.
#pragma once

#include "proxy/base/worker.h"
#include "proxy/group/group.h"

static inline uint64_t group_now_ns(const struct group_home *home)
{
	return loop_now_ns(home->worker->loop);
}

// ---- group.c

// Needs a group whose source is closed. *ret_text (static) may be left alone.
enum code group_source_open(struct group_home *home, const char **ret_text);
void group_idle_later(struct group_home *home); // a member has gone: was it the last?
const struct topic *group_dead_letter(const struct group_home *home); // a reference; NULL: none

// ---- member.c

extern const struct dispatch_ops member_dispatch_ops; // with a struct group_home as context
void members_end(struct group_home *home, enum code code, const char *text); // all are told and go
// Tells those that stop and have nothing left. One that settles, or begins to stop, is looked at by
// itself: this is for what has changed for many, a timeout or a source that is closed.
void members_check_stopped(struct group_home *home);
