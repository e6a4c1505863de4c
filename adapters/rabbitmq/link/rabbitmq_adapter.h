// One open cluster: where each file of the RabbitMQ adapter keeps its own state. A member belongs
// to the file that is named beside it.
#pragma once

#include "adapters/adapter.h"
#include "adapters/rabbitmq/link/link.h"

#include <pthread.h>

struct rabbitmq_asker;
struct rabbitmq_ended;
struct rabbitmq_health;
struct rabbitmq_manage;
struct rabbitmq_presence;
struct rabbitmq_receiver;
struct rabbitmq_rewinds;
struct rabbitmq_sender;
struct rabbitmq_store_memo;
struct rabbitmq_watch;
struct ticker;

struct adapter {
	struct rabbitmq_options options;
	struct log_ctx *log;
	char *cluster; // its name
	struct rabbitmq_link *send, *receive, *ask;
	struct rabbitmq_health *health;     // health.c
	struct rabbitmq_asker *asker;       // ask.c
	struct rabbitmq_ended *ended;       // ended.c
	struct rabbitmq_presence *presence; // presence.c
	struct rabbitmq_sender *sender;     // sender.c
	struct rabbitmq_receiver *receiver; // receiver.c
	struct rabbitmq_store_memo *stores; // store_memo.c
	struct rabbitmq_rewinds *rewinds;   // rewind.c
	struct rabbitmq_manage *manage;     // manage.c; NULL: no management address
	struct rabbitmq_watch *watch;       // watch.c
	struct ticker *ticker;              // rabbitmq.c
	uint32_t capabilities;              // atomic; class.c
};
