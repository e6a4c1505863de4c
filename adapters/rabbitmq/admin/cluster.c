// Whether a cluster can be reached, what it can do, and what endangers messages there.
//
// A probe asks both doors of the cluster at the same time, AMQP and the management API, and answers
// when both have, or shortly before its deadline with what is known by then. It lives until both
// have answered.

#include "adapters/rabbitmq/admin/cluster.h"

#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/admin/incidents.h"
#include "adapters/rabbitmq/send/health.h"
#include "core/base/clock.h"

#include <stdio.h>

#define LATE_MS 300 // before the deadline: time to answer

struct probe {
	struct adapter *adapter;
	struct request base;
	struct rabbitmq_ask ask;
	struct rabbitmq_step step;
	struct rabbitmq_manage_ask manage;
	struct loop_task managed; // on the ask link
	struct loop_timer timer;
	uint64_t began_ns, latency_us, deadline_ns;
	bool asked, answered, timed;
	unsigned under_way;
	char error[600];
};

static void probe_answer(struct probe *probe)
{
	struct rabbitmq_summary summary;
	char reason[RABBITMQ_CLASS_REASON], version[64];
	struct adapter_answer answer = {.kind = ANSWER_PROBE};

	rabbitmq_manage_summary(probe->adapter, &summary);
	rabbitmq_link_version(probe->adapter->ask, version, sizeof version);
	if (!*version)
		snprintf(version, sizeof version, "%s",
			 *summary.version ? summary.version : "unknown");
	if (!probe->asked && !*probe->error)
		snprintf(probe->error, sizeof probe->error, "cluster %s: it does not answer",
			 probe->adapter->cluster);
	if (!*probe->error)
		snprintf(probe->error, sizeof probe->error, "%s",
			 *summary.alarm ? summary.alarm : summary.imported);
	answer.probe = (struct answer_probe){
		.reachable = probe->asked,
		.version = version,
		.nodes = summary.known ? summary.nodes : ANSWER_NONE,
		.durability = rabbitmq_class_of(&probe->adapter->options, &summary, reason),
		.durability_reason = reason,
		.capabilities = rabbitmq_class_capabilities(probe->adapter),
		.latency_us = probe->asked ? probe->latency_us : ANSWER_NONE,
		.error = *probe->error ? probe->error : NULL};
	probe->answered = true;
	loop_timer_cancel(&probe->timer);
	request_end(&probe->base, CODE_OK, &answer, NULL);
}

static void part_ended(struct probe *probe)
{
	if (--probe->under_way)
		return;
	if (!probe->answered)
		probe_answer(probe);
	free(probe);
}

static void on_asked(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct probe *probe = CONTAINER_OF(ask, struct probe, ask);

	probe->asked = code == CODE_OK;
	probe->latency_us = (clock_now_ns() - probe->began_ns) / 1000;
	if (text)
		snprintf(probe->error, sizeof probe->error, "%s", text);
	if (!probe->answered && !probe->timed) {
		probe->timed = true;
		loop_timer_set(&probe->timer, probe->deadline_ns);
	}
	part_ended(probe);
}

static void on_timer(struct loop_timer *timer)
{
	struct probe *probe = CONTAINER_OF(timer, struct probe, timer);

	if (!probe->answered)
		probe_answer(probe);
}

static void on_managed(struct loop_task *task)
{
	part_ended(CONTAINER_OF(task, struct probe, managed));
}

static void on_refreshed(struct rabbitmq_manage_ask *ask)
{
	struct probe *probe = CONTAINER_OF(ask, struct probe, manage);

	loop_post(rabbitmq_link_loop(probe->adapter->ask), &probe->managed);
}

void rabbitmq_cluster_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			    void *ctx)
{
	struct request base = {.answer_done = done, .ctx = ctx};
	struct probe *probe = calloc(1, sizeof *probe);
	bool has_manage = adapter->manage;

	if (!probe) {
		request_answer(&base, CODE_OVERLOADED, NULL);
		return;
	}
	request_hold(&base, &probe->base);
	probe->adapter = adapter;
	probe->began_ns = clock_now_ns();
	probe->deadline_ns = deadline_ns - MIN(deadline_ns, LATE_MS * MS_NS);
	probe->under_way = 1 + has_manage;
	probe->managed.fn = on_managed;
	loop_timer_init(&probe->timer, rabbitmq_link_loop(adapter->ask), on_timer);
	probe->step = (struct rabbitmq_step){.verb = RABBITMQ_EXCHANGE_LOOK, .name = "amq.fanout"};
	probe->ask = (struct rabbitmq_ask){.adapter = adapter,
					   .steps = &probe->step,
					   .count = 1,
					   .deadline_ns = probe->deadline_ns,
					   .done = on_asked};
	probe->manage = (struct rabbitmq_manage_ask){.adapter = adapter, .done = on_refreshed};
	rabbitmq_ask_run(&probe->ask);
	if (has_manage)
		rabbitmq_manage_refresh(&probe->manage);
}

// ---- the state

void rabbitmq_cluster_state(struct adapter *adapter, struct adapter_state *ret)
{
	struct rabbitmq_summary summary;

	rabbitmq_health_state(adapter, ret);
	rabbitmq_manage_summary(adapter, &summary);
	ret->known = ret->known && summary.ended;
	if (*ret->error || ret->health != ADAPTER_READY)
		return;
	rabbitmq_incidents_describe(adapter, ret->error, sizeof ret->error);
	if (*summary.alarm)
		snprintf(ret->error, sizeof ret->error, "%s", summary.alarm);
	else if (*ret->error)
		; // an incident
	else if (*summary.danger)
		snprintf(ret->error, sizeof ret->error, "%s", summary.danger);
	else if (*summary.imported)
		snprintf(ret->error, sizeof ret->error, "%s", summary.imported);
	else if (adapter->manage && summary.ended && !summary.known)
		snprintf(ret->error, sizeof ret->error, "%.250s", summary.error);
	if (*ret->error)
		ret->health = ADAPTER_DEGRADED;
}
