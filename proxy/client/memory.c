// Makes connections wait for message memory, and closes those whose frames do not become whole.
//
// The idea: a tenant above its share waits. A sender waits by not being read: before a read that
// needs a larger buffer, and while its tenant's unanswered batches are above their share.
// Deliveries wait in their group (resource/delivery_budget.c). Only a frame that has begun cannot
// wait: its memory is taken, and only its sender can make it whole. So it must come at a least
// rate, measured second by second; and while others of its tenant wait for memory, or the budget is
// nearly used up, the slowest is closed OVERLOADED, one at a time.
//
// Invariants: a connection is in its tenant's list exactly while it waits, and is not read then; it
// is in the worker's list exactly while a large frame of it has begun and it does not wait. Bytes
// are counted in units, so that small frames cost no atomic operation; less than a unit of each
// connection is not counted. What it does not do: bound what a connection that is not authenticated
// holds (its frames are small and their number is limited).

#include "proxy/client/memory.h"

#include "proxy/client/clients.h"
#include "proxy/client/conn.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/resource/shared.h"

#define UNIT          8192u // bytes; reads of this size and frames of this size are always allowed
#define OUTPUT_SCARCE 16u   // above its share a connection may have this part of its replies
#define WAIT_NS       (10 * MS_NS)  // between two looks for room
#define LOOK_NS       (250 * MS_NS) // between two looks at frames that have begun
#define MEASURE_NS    S_NS
#define SLOW_MOST     10u          // measurements below the least rate
#define RATE_LEAST    (16u << 10)  // bytes a second
#define RATE_SHORT    (256u << 10) // the same while memory is short

static size_t in_units(size_t bytes)
{
	return bytes - bytes % UNIT;
}

void memory_init(struct conn *conn)
{
	conn->memory = (struct conn_memory){.share = &conn->worker->shared->unauthenticated};
	list_init(&conn->memory.waiting);
	list_init(&conn->memory.partial);
}

void memory_move(struct conn *conn, struct budget_share *share)
{
	struct conn_memory *memory = &conn->memory;

	budget_add(share, BUDGET_FRAMES, memory->frames);
	budget_add(share, BUDGET_OUTPUT, memory->output);
	budget_give_back(memory->share, BUDGET_FRAMES, memory->frames);
	budget_give_back(memory->share, BUDGET_OUTPUT, memory->output);
	memory->share = share;
}

static void stop_waiting(struct conn *conn)
{
	if (!conn->memory.waits)
		return;
	conn->memory.waits = false;
	list_unlink(&conn->memory.waiting);
	__atomic_sub_fetch(&conn->memory.share->waiting, 1, __ATOMIC_RELAXED);
}

void memory_release(struct conn *conn)
{
	struct conn_memory *memory = &conn->memory;

	stop_waiting(conn);
	list_unlink(&memory->partial);
	budget_give_back(memory->share, BUDGET_FRAMES, memory->frames);
	budget_give_back(memory->share, BUDGET_OUTPUT, memory->output);
	memory->frames = memory->output = 0;
}

// ---- output

void memory_count_output(struct conn *conn)
{
	size_t bytes = in_units(conn->out.bytes);

	budget_move(conn->memory.share, BUDGET_OUTPUT, conn->memory.output, bytes);
	conn->memory.output = bytes;
}

size_t memory_output_most(const struct conn *conn)
{
	size_t most = conn->worker->limits.output;

	return budget_has_room(conn->memory.share, BUDGET_OUTPUT, 0) ? most : most / OUTPUT_SCARCE;
}

// ---- waiting

static void look_later(struct tenant_clients *clients)
{
	struct loop_timer *timer = &clients->memory_timer;

	if (!timer->at_ns)
		loop_timer_set(timer, loop_now_ns(timer->loop) + WAIT_NS);
}

static void begin_waiting(struct conn *conn)
{
	if (conn->memory.waits)
		return;
	conn->memory.waits = true;
	conn->memory.partial_ns = 0; // measured anew when it is read again
	list_unlink(&conn->memory.partial);
	list_push_back(&conn->session.tenant->clients->memory_waiting, &conn->memory.waiting);
	__atomic_add_fetch(&conn->memory.share->waiting, 1, __ATOMIC_RELAXED);
	look_later(conn->session.tenant->clients);
}

// The buffer that the next read needs takes the place of the one there is.
static bool buffer_fits(const struct conn *conn)
{
	const struct conn_memory *memory = &conn->memory;
	size_t needs = conn->ops->next_read(conn);

	return needs <= MAX(memory->frames, UNIT) ||
	       budget_may_grow(memory->share, BUDGET_FRAMES, memory->frames, needs);
}

static bool has_room(struct conn *conn)
{
	bool bodies = budget_has_room(conn->memory.share, BUDGET_BODIES, 0);

	if (!bodies && !list_empty(&conn->session.batches))
		return false;
	if (bodies && buffer_fits(conn))
		return true;
	conn->ops->shrink(conn); // small frames always get through
	memory_has_read(conn);
	return conn->ops->front(conn) <= UNIT || (bodies && buffer_fits(conn));
}

bool memory_may_read(struct conn *conn)
{
	if (conn->state < CONN_READY || has_room(conn))
		return true;
	begin_waiting(conn);
	return false;
}

// In the order in which they came: behind one that needs much the others wait too, or it would wait
// for ever.
void memory_on_waiting(struct loop_timer *timer)
{
	struct tenant_clients *clients = CONTAINER_OF(timer, struct tenant_clients, memory_timer);

	while (!list_empty(&clients->memory_waiting)) {
		struct conn *conn =
			CONTAINER_OF(clients->memory_waiting.next, struct conn, memory.waiting);

		if (!has_room(conn)) {
			look_later(clients);
			return;
		}
		stop_waiting(conn);
		conn->last_read_ns = loop_now_ns(timer->loop); // we did not listen
		conn_read_again(conn);
	}
}

// ---- frames that have begun

static void measure_from(struct conn *conn, uint64_t now_ns)
{
	conn->memory.partial_ns = now_ns;
	conn->memory.partial_from = conn->ops->have(conn);
}

void memory_has_read(struct conn *conn)
{
	struct conn_memory *memory = &conn->memory;
	struct worker *worker = conn->worker;
	size_t held = in_units(conn->ops->held(conn));

	budget_move(memory->share, BUDGET_FRAMES, memory->frames, held);
	memory->frames = held;
	if (memory->waits)
		return;
	if (held <= UNIT || !conn->ops->has_begun(conn)) {
		memory->partial_ns = 0;
		list_unlink(&memory->partial);
		return;
	}
	if (memory->partial_ns)
		return;
	measure_from(conn, loop_now_ns(worker->loop));
	memory->rate = UINT64_MAX;
	memory->slow = 0;
	if (list_empty(&memory->partial))
		list_push_back(&worker->clients->partial, &memory->partial);
	if (!worker->clients->partial_timer.at_ns)
		loop_timer_set(&worker->clients->partial_timer, memory->partial_ns + LOOK_NS);
}

// Once a second for each.
static void measure_rate(struct conn *conn, uint64_t now_ns)
{
	struct conn_memory *memory = &conn->memory;
	uint64_t age_ns = now_ns - memory->partial_ns;

	if (age_ns < MEASURE_NS)
		return;
	memory->rate = (conn->ops->have(conn) - memory->partial_from) * 1000 / (age_ns / MS_NS);
	memory->slow = memory->rate < RATE_LEAST ? memory->slow + 1 : 0;
	measure_from(conn, now_ns);
}

static bool is_short(const struct conn *conn)
{
	return __atomic_load_n(&conn->memory.share->waiting, __ATOMIC_RELAXED) ||
	       budget_is_short(conn->memory.share->budget);
}

static void close_slow(struct conn *conn)
{
	conn_close(conn, CODE_OVERLOADED, "a frame comes too slowly for the memory it takes");
}

// A frame that is too slow ends its connection; a small one in a buffer that was made for more
// only loses the buffer.
void memory_on_partial(struct loop_timer *timer)
{
	struct clients *clients = CONTAINER_OF(timer, struct clients, partial_timer);
	uint64_t now_ns = loop_now_ns(clients->worker->loop), slowest_rate = RATE_SHORT;
	struct conn *slowest = NULL;

	LIST_FOREACH(pos, next, &clients->partial)
	{
		struct conn *conn = CONTAINER_OF(pos, struct conn, memory.partial);

		if (conn->blocked)
			continue; // not read, and closed when it stays so
		measure_rate(conn, now_ns);
		if (conn->ops->front(conn) <= UNIT && conn->memory.slow) {
			conn->ops->shrink(conn);
			memory_has_read(conn);
		} else if (conn->memory.slow >= SLOW_MOST) {
			close_slow(conn);
		} else if (conn->memory.rate < slowest_rate && is_short(conn)) {
			slowest = conn;
			slowest_rate = conn->memory.rate;
		}
	}
	if (slowest)
		close_slow(slowest);
	if (!list_empty(&clients->partial))
		loop_timer_set(timer, now_ns + LOOK_NS);
}
