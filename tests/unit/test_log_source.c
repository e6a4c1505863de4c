// The log source (adapters/log/source.h) over a backend that answers when the test says so: what
// its handlers are told.

#include "adapters/log/source.h"
#include "tests/unit/unit.h"

enum { PARTITIONS = 3 };

static struct loop *loop;
static struct log_cursors *cursors;           // loaded or committed
static struct log_fetch *fetches[PARTITIONS]; // that wait for their answer
static enum source_state told;                // the last one
static unsigned tellings;
static bool closed;

// ---- the backend

static bool do_fetch(struct adapter *adapter, struct log_fetch *fetch)
{
	fetches[fetch->partition] = fetch;
	return false;
}

static void do_due(struct adapter *adapter, struct log_due *due)
{
	due->next_ms = UINT64_MAX;
	loop_post(due->loop, &due->task);
}

static void do_load(struct adapter *adapter, struct log_cursors *load)
{
	for (uint32_t i = 0; i < load->count; ++i)
		load->cursors[i] = (struct log_cursor){.text = strdup(""), .partition = i};
	cursors = load;
}

static void do_commit(struct adapter *adapter, struct log_cursors *commit)
{
	cursors = commit;
}

static bool do_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
		      uint64_t *ret_end)
{
	*ret_first = 0;
	*ret_end = 10;
	return true;
}

static void do_watch(struct adapter_topic *topic, struct log_watch *watch)
{
}

static const struct log_ops log_ops = {.fetch = do_fetch,
				       .due = do_due,
				       .load = do_load,
				       .commit = do_commit,
				       .bounds = do_bounds,
				       .watch = do_watch,
				       .unwatch = do_watch};

// ---- the handlers

static void on_deliver(void *ctx, const struct delivery *given, size_t count)
{
	CHECK(false); // nothing is ever read
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	told = state;
	++tellings;
}

static const struct source_handlers handlers = {.deliver = on_deliver, .state = on_state};

static void on_closed(void *ctx)
{
	closed = true;
}

// ---- steps

static void on_stop(struct loop_task *task)
{
	loop_stop(loop);
}

// Until nothing goes on by itself: what is deferred may defer the next.
static void run_all(void)
{
	for (unsigned i = 0; i < 10; ++i) {
		struct loop_task stop = {.fn = on_stop};

		loop_post(loop, &stop);
		CHECK_EQ(loop_run(loop), 0);
	}
}

static void answer_cursors(enum code code)
{
	struct log_cursors *asked = cursors;

	CHECK(asked);
	cursors = NULL;
	asked->code = code;
	loop_post(loop, &asked->task);
	run_all();
}

static void answer_fetch(uint32_t partition, enum code code)
{
	struct log_fetch *asked = fetches[partition];

	CHECK(asked);
	fetches[partition] = NULL;
	asked->code = code;
	loop_post(loop, &asked->task);
	run_all();
}

// With reads of all partitions under way.
static struct source *open_source(void)
{
	static struct topic topic = {.object = {.refs = 1}, .partitions = PARTITIONS};
	static struct group group = {.object = {.refs = 1}};
	struct source_config config = {
		.group = &group, .topic = &topic, .loop = loop, .handlers = &handlers};
	struct source *source;

	told = SOURCE_OPENING;
	tellings = 0;
	closed = false;
	CHECK_EQ(log_source_open(NULL, &log_ops, &config, &source), 0);
	answer_cursors(CODE_OK); // loaded
	CHECK_EQ(tellings, 0);
	answer_cursors(CODE_OK); // claimed
	CHECK_EQ(told, SOURCE_READY);
	log_source_demand(source, 10, 1000, 0);
	run_all();
	return source;
}

static void close_source(struct source *source)
{
	unsigned before = tellings;

	log_source_close(source, on_closed, NULL);
	run_all();
	for (uint32_t i = 0; i < PARTITIONS; ++i)
		if (fetches[i])
			answer_fetch(i, CODE_BACKEND_DOWN);
	CHECK(closed);
	CHECK_EQ(tellings, before); // not what ends while it closes
}

// ---- cases

static void a_failure_is_told_once(void)
{
	struct source *source = open_source();

	answer_fetch(0, CODE_BACKEND_DOWN);
	CHECK_EQ(told, SOURCE_DOWN);
	answer_fetch(1, CODE_OVERLOADED);
	CHECK_EQ(tellings, 2);
	close_source(source);
}

// Reads of other partitions are under way when the topic goes, and the handler does not close at
// once.
static void gone_is_the_last_word(void)
{
	struct source *source = open_source();

	answer_fetch(0, CODE_NOT_FOUND);
	CHECK_EQ(told, SOURCE_GONE);
	answer_fetch(1, CODE_BACKEND_DOWN);
	CHECK_EQ(told, SOURCE_GONE);
	answer_fetch(2, CODE_NOT_FOUND);
	CHECK_EQ(tellings, 2);
	close_source(source);
}

int main(void)
{
	const struct unit_case cases[] = {UNIT_CASE(a_failure_is_told_once),
					  UNIT_CASE(gone_is_the_last_word)};
	int r;

	CHECK_EQ(loop_new("home", &loop), 0);
	r = unit_main(cases, ARRAY_SIZE(cases));
	loop_free(loop);
	return r;
}
