// Passes credit and settles home, and hands what comes back to its front end.
//
// Credit is passed on only as far as the connection's output can hold it: a client that does not
// read its socket stops its own deliveries and nothing else.
//
// A subscription that closes stays until home has answered its settles (GONE), at most
// CLOSE_WAIT_NS; then its owner is told. A subscription that is freed earlier leaves home by
// itself. This file knows the events of the link and no frame.

#include "proxy/client/subscription.h"

#include "core/base/clock.h"
#include "core/wire/deliver.h"
#include "proxy/client/clients.h"
#include "proxy/group/member.h"

#include <errno.h>
#include <stdio.h>

#define CLOSE_WAIT_NS (30 * S_NS) // closing waits no longer for answers to settles

// ---- open and close

static void on_impatient(struct loop_timer *timer);
static void on_joined(struct loop_task *task);
static void on_stopped(struct loop_task *task);
static void on_closed(struct loop_task *task);
static void on_gone(struct loop_task *task);
static void on_deliver(struct loop_task *task);
static void on_settled(struct loop_task *task);
static void on_drained(struct loop_task *task);
static void on_throttle(struct loop_task *task);

static const struct member_link_ops link_ops = {.deliver = on_deliver,
						.settled = on_settled,
						.drained = on_drained,
						.throttle = on_throttle};

static struct member_link *new_link(struct subscription *subscription, const struct group *group)
{
	struct worker *near = subscription->conn->worker;
	struct member_link *link = calloc(1, sizeof *link);

	if (!link)
		return NULL;
	link->ops = &link_ops;
	link->near = near;
	link->home = worker_home(near, group->object.id);
	link->group = group->object.id;
	link->session = subscription->conn->node.key;
	link->subscription = subscription;
	list_init(&link->waiting);
	link->end.fn = member_on_end;
	link->join.fn = member_on_join;
	link->stop.fn = member_on_stop;
	link->leave.fn = member_on_leave;
	link->joined.fn = on_joined;
	link->stopped.fn = on_stopped;
	link->closed.fn = on_closed;
	link->gone.fn = on_gone;
	return link;
}

int subscription_init(struct subscription *subscription, const struct subscription_ops *ops,
		      struct conn *conn, const struct group *group, bool tells_begun)
{
	*subscription = (struct subscription){.ops = ops, .conn = conn};
	list_init(&subscription->output_blocked);
	loop_timer_init(&subscription->patience, conn->worker->loop, on_impatient);
	snprintf(subscription->name, sizeof subscription->name, "%s", group->name);
	subscription->link = new_link(subscription, group);
	if (!subscription->link)
		return -ENOMEM;
	subscription->link->tells_begun = tells_begun;
	return 0;
}

void subscription_join(struct subscription *subscription)
{
	loop_post(subscription->link->home->loop, &subscription->link->join);
}

// Its end is the client's doing, or the network's.
static bool is_by_client(const struct subscription *subscription)
{
	return subscription->closing ? subscription->by_client : !subscription->conn->ended_by_us;
}

// Its connection waits for it no more.
static void stop_over(struct subscription *subscription)
{
	assert(subscription->conn->session.unstopped > 0);
	subscription->stopping = false;
	--subscription->conn->session.unstopped;
}

// Home takes back what it has out, answers what it was asked, and says GONE. Those of a connection
// that ends take turns.
static void leave_group(struct subscription *subscription, bool paced)
{
	struct conn *conn = subscription->conn;
	struct member_link *link = subscription->link;

	if (subscription->stopping)
		stop_over(subscription);
	list_unlink(&subscription->output_blocked);
	if (subscription->left)
		return;
	subscription->left = true;
	link->lost = is_by_client(subscription);
	if (paced)
		leave_queue_add(&conn->worker->clients->leave_queue, link, conn->session.leaving++);
	else
		loop_post(link->home->loop, &link->leave);
}

static void let_go_of_link(struct subscription *subscription)
{
	loop_timer_cancel(&subscription->patience);
	if (subscription->link)
		subscription->link->subscription = NULL;
	subscription->link = NULL;
}

void subscription_free(struct subscription *subscription)
{
	if (subscription->link)
		leave_group(subscription, true);
	let_go_of_link(subscription);
}

void subscription_close(struct subscription *subscription, bool by_client)
{
	struct loop *loop = subscription->conn->worker->loop;

	subscription->closing = true;
	subscription->by_client = by_client;
	leave_group(subscription, false);
	loop_timer_set(&subscription->patience, loop_now_ns(loop) + CLOSE_WAIT_NS);
}

// What home has not answered by now is answered no more.
static void on_impatient(struct loop_timer *timer)
{
	struct subscription *subscription = CONTAINER_OF(timer, struct subscription, patience);

	let_go_of_link(subscription);
	subscription->ops->closed(subscription);
}

static void on_gone(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, gone);
	struct subscription *subscription = link->subscription;

	assert(!link->member && link->requests == 0); // home says nothing more
	if (subscription)
		let_go_of_link(subscription);
	leave_queue_gone(&link->near->clients->leave_queue, link);
	worker_check_drained(link->near);
	free(link);
	if (subscription)
		subscription->ops->closed(subscription);
}

static void drop_models(struct member_link *link)
{
	link->model = model_unref(link->model);
	link->topic = model_unref(link->topic);
	link->dead_letter = model_unref(link->dead_letter);
}

static void on_joined(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, joined);
	struct subscription *subscription = link->subscription;

	if (!subscription) {
		drop_models(link);
		return;
	}
	if (link->code != CODE_OK) {
		drop_models(link);
		subscription->ops->refused(subscription, link->code, link->text);
		return;
	}
	subscription->largest = link->topic->message_bytes;
	subscription->ops->joined(subscription, link);
	drop_models(link); // the link lasts until GONE, whatever joined() has closed
}

static void on_closed(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, closed);
	struct subscription *subscription = link->subscription;

	if (subscription)
		subscription->ops->ended(subscription, link->closed_code, link->closed_text);
}

// ---- leaving in order

void subscription_stop(struct subscription *subscription)
{
	if (subscription->stopping)
		return;
	subscription->stopping = true;
	list_unlink(&subscription->output_blocked);
	++subscription->conn->session.unstopped;
	loop_post(subscription->link->home->loop, &subscription->link->stop);
}

static void on_stopped(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, stopped);
	struct subscription *subscription = link->subscription;

	if (!subscription || !subscription->stopping)
		return;
	stop_over(subscription);
	conn_check_left(subscription->conn);
}

// ---- credit

// What may be on its way to the client's socket: enough that one large message does not stop the
// next.
static uint64_t output_window(const struct subscription *subscription)
{
	const struct proxy_limits *limits = &subscription->conn->worker->limits;
	uint32_t largest = MIN(limits->max_message, subscription->largest);

	return MAX(limits->output, 2 * (uint64_t)largest);
}

// `heard`: the client has sent it at this moment. What it begins counts also on a connection that
// is leaving.
static void pass_credit(struct subscription *subscription, bool heard)
{
	struct conn *conn = subscription->conn;
	uint64_t bytes = MIN(subscription->credit_bytes,
			     subscription->given_bytes + output_window(subscription));
	struct credit_event *event;

	if (conn->state != CONN_READY && !heard)
		return;
	event = malloc(sizeof *event);
	if (!event) {
		conn_close(conn, CODE_OVERLOADED, "out of memory");
		return;
	}
	subscription->passed_messages = subscription->credit_messages;
	subscription->passed_bytes = bytes;
	*event = (struct credit_event){.task.fn = member_on_credit,
				       .link = subscription->link,
				       .messages = subscription->credit_messages,
				       .bytes = bytes,
				       .drain = subscription->drain,
				       .begun = subscription->begun,
				       .heard = heard};
	// What home has given up for a drain must not be given again before we know.
	if (subscription->drain_passed != subscription->drained)
		event->messages = event->bytes = 0;
	subscription->drain_passed = subscription->drain;
	list_unlink(&subscription->output_blocked);
	if (bytes < subscription->credit_bytes && conn->state == CONN_READY)
		list_push_back(&conn->session.output_blocked, &subscription->output_blocked);
	loop_post(subscription->link->home->loop, &event->task);
}

void subscription_feed_all(struct conn *conn)
{
	LIST_FOREACH(pos, next, &conn->session.output_blocked)
	{
		struct subscription *subscription =
			LIST_ENTRY(pos, struct subscription, output_blocked);

		uint64_t window = output_window(subscription);

		if (subscription->given_bytes + window >= subscription->passed_bytes + window / 4)
			pass_credit(subscription, false);
		if (!conn_is_open(conn))
			return;
	}
}

const char *subscription_credit(struct subscription *subscription,
				const struct subscription_credit *credit)
{
	if (credit->begun < subscription->begun)
		return "what has begun never becomes less";
	if (credit->begun > subscription->given_messages)
		return "more has begun than was delivered";
	subscription->credit_messages = MAX(subscription->credit_messages, credit->messages);
	subscription->credit_bytes = MAX(subscription->credit_bytes, credit->bytes);
	subscription->drain = MAX(subscription->drain, credit->drain);
	subscription->begun = credit->begun;
	pass_credit(subscription, true);
	return NULL;
}

static void on_drained(struct loop_task *task)
{
	struct drained_event *event = CONTAINER_OF(task, struct drained_event, task);
	struct subscription *subscription = event->link->subscription;
	uint64_t number = event->number;

	free(event);
	if (!subscription)
		return;
	subscription->drained = number;
	subscription->credit_messages = subscription->given_messages;
	subscription->credit_bytes = subscription->given_bytes;
	list_unlink(&subscription->output_blocked);
	subscription->ops->drained(subscription, number);
}

static void on_throttle(struct loop_task *task)
{
	struct throttle_event *event = CONTAINER_OF(task, struct throttle_event, task);
	struct subscription *subscription = event->link->subscription;

	if (subscription)
		conn_tell_throttled(subscription->conn, QUOTA_CONSUME,
				    &(struct quota_answer){.wait_ns = event->wait_ns,
							   .limit = event->limit,
							   .remaining = event->remaining,
							   .bytes = event->bytes});
	free(event);
}

// ---- deliver

// Only first attempts: of a later one the time since it was stored says nothing.
static void note_latency(struct worker *worker, const struct delivery *deliveries, uint32_t count)
{
	int64_t now_ms = clock_wall_ms(), stored_ms = 0;
	uint32_t same = 0; // what was stored together is counted together

	for (uint32_t i = 0; i < count; ++i) {
		if (deliveries[i].attempt != 1)
			continue;
		if (same && deliveries[i].stored_ms != stored_ms) {
			latency_add(&worker->latencies[LATENCY_DELIVER],
				    (uint64_t)MAX(now_ms - stored_ms, 0) * MS_NS, same);
			same = 0;
		}
		stored_ms = deliveries[i].stored_ms;
		++same;
	}
	if (same)
		latency_add(&worker->latencies[LATENCY_DELIVER],
			    (uint64_t)MAX(now_ms - stored_ms, 0) * MS_NS, same);
}

static void on_deliver(struct loop_task *task)
{
	struct deliver_event *event = CONTAINER_OF(task, struct deliver_event, task);
	struct subscription *subscription = event->link->subscription;
	struct buf *last = NULL;

	budget_give_back(event->memory, BUDGET_OUTPUT, event->bytes);
	if (subscription && !subscription->left) {
		subscription->given_messages += event->count;
		note_latency(event->link->near, event->deliveries, event->count);
		subscription->given_bytes +=
			event->bytes - (uint64_t)event->count * DELIVER_ENTRY_SIZE;
		subscription->ops->deliver(subscription, event->deliveries, event->count,
					   event->link->tells_begun ? event->flags : 0);
	}
	for (uint32_t i = 0; i < event->count; ++i) {
		if (event->deliveries[i].buf != last)
			buf_unref(last);
		last = event->deliveries[i].buf;
	}
	buf_unref(last);
	free(event);
}

// ---- settle

struct settle_event *subscription_settle_new(uint64_t number, uint32_t count)
{
	struct settle_event *event = malloc(sizeof *event + count * sizeof event->entries[0]);

	if (event)
		*event = (struct settle_event){.task.fn = member_on_settle,
					       .since_ns = clock_now_ns(),
					       .number = number,
					       .count = count};
	return event;
}

void subscription_settle(struct subscription *subscription, struct settle_event *event)
{
	event->link = subscription->link;
	loop_post(event->link->home->loop, &event->task);
}

void subscription_settle_stale(struct settle_event *event)
{
	for (uint32_t i = 0; i < event->count; ++i) {
		event->entries[i].code = CODE_STALE;
		event->entries[i].settled = 0;
	}
}

static void on_settled(struct loop_task *task)
{
	struct settle_event *event = CONTAINER_OF(task, struct settle_event, task);
	struct subscription *subscription = event->link->subscription;

	latency_add(&event->link->near->latencies[LATENCY_SETTLE], clock_now_ns() - event->since_ns,
		    event->count);
	if (subscription)
		subscription->ops->settled(subscription, event);
	free(event);
}
