// The topic of a group's retry store on the cluster. All of them block.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

enum retry_presence { RETRY_UNKNOWN, RETRY_ABSENT, RETRY_THERE };

enum code retry_topic_ask(struct adapter *adapter, const char *name, enum retry_presence *ret);
// The same, but says that it is absent only when brokers have said so for 2 s: one that has just
// started does not know its topics yet.
enum code retry_topic_ask_again(struct adapter *adapter, const char *name,
				enum retry_presence *ret);
enum code retry_topic_make(struct adapter *adapter, const char *name, const struct topic *topic,
			   char *text, size_t room);
// One that other clients may have made gets what it needs; what the cluster refuses is told, and
// OK.
enum code retry_topic_settle(struct adapter *adapter, const char *name);
enum code retry_topic_delete(struct adapter *adapter, const char *name);
// kafka_error_code() of what is asked of a retry topic. That it is missing is BACKEND_DOWN:
// NOT_FOUND would say that the group is gone. Does not block.
enum code retry_topic_code(rd_kafka_resp_err_t error);
char *retry_topic_name(const struct group *group); // malloc'ed; does not block
