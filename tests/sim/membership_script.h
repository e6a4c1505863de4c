// core/membership/renew.lua and leave.lua in C: the same rules, for schedules in virtual time. A
// test on a real Redis compares the two (tests/unit/test_redis_member.c).
#pragma once

#include "core/membership/membership.h"

struct membership_script {
	uint64_t run; // of the Redis that executes it
	// The hash; what it was written for.
	bool there, ghost;
	uint64_t written_for, version, beat, ghost_beat;
	char gen[MEMBERSHIP_LIFE_SIZE];
	size_t count;
	struct document_entry entries[PEERS_MAX]; // in any order
};

void membership_script_renew(struct membership_script *script,
			     const struct membership_request *request, struct document *ret);
void membership_script_leave(struct membership_script *script, const char *id, const char *life);
