// The steps of which cases are made: each expects what it names.
#pragma once

#include "tests/contract/harness.h"

#define SHORT_MS 30000 // for what must come: longer than a slow machine needs
#define QUIET_MS 60    // for what must not

const struct topic *plain_topic(struct bench *bench, uint32_t partitions);
bool keeps_positions(const struct bench *bench);
// A group that keeps what is sent, where the cluster keeps nothing without one; else NULL.
const struct group *keeper(struct bench *bench, const struct topic *topic);
void models_end(const struct topic *topic, const struct group *group);
void take_all(struct reader *reader, struct got *got, size_t count);
void expect_quiet(struct reader *reader);
// Settles one delivery and expects it to have been open.
void settle(struct reader *reader, const struct got *got, enum settle_verb verb, uint32_t delay_ms);
void expect_stale(struct reader *reader, struct settle entry);
void settle_all(struct reader *reader, const struct got *got, size_t count, enum settle_verb verb);
void ack_all(struct reader *reader, const struct got *got, size_t count);
// What a queue counts is exact when nothing is on its way from or to it: after a first look that is
// not what it should be, may there be another? Of what is stored by position never.
bool look_again(const struct bench *bench, uint64_t until_ns);
void expect_backlog(struct reader *reader, uint64_t ready, uint64_t in_flight, uint64_t retrying,
		    uint64_t delayed);
// Of positions that a cluster may not have: checked where it has them.
void expect_offset(const struct bench *bench, const struct got *got, uint64_t offset);
void expect_committed(const struct bench *bench, const struct source_partition *row,
		      uint64_t committed);
json_int_t sum_of(const json_t *answer, const char *member);
void expect_closed_backlog(struct bench *bench, const struct group *group,
			   const struct topic *topic, json_int_t ready, json_int_t retrying,
			   json_int_t delayed);
// Of what is due within a minute: a queue may count it as ready while no source has it.
void expect_closed_waiting(struct bench *bench, const struct group *group,
			   const struct topic *topic, json_int_t retrying, json_int_t delayed);
