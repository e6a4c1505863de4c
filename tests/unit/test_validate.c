// What the daemon refuses of a group because of the kind of its cluster, before a backend is asked.

#include "server/validate.h"

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "server/daemon_state.h"
#include "tests/unit/unit.h"

// ---- kinds of the test's own

static int open_source(struct adapter *adapter, const struct source_config *config,
		       struct source **ret)
{
	return -1;
}

static const struct adapter_ops log_ops = {.kind = "log", .source_open = open_source};
static const struct adapter_ops queue_ops = {
	.kind = "queue", .lacks = CAP_POSITIONS, .source_open = open_source};
static bool has_stream(const struct cluster *cluster)
{
	return strcmp(cluster->options_json, "with") == 0;
}

static const struct adapter_ops stream_ops = {.kind = "stream",
					      .lacks = CAP_POSITIONS,
					      .source_open = open_source,
					      .keeps_history = has_stream};
static const struct adapter_ops sink_ops = {.kind = "sink"};

const struct adapter_ops *__wrap_adapter_kind_find(const char *kind);

const struct adapter_ops *__wrap_adapter_kind_find(const char *kind)
{
	static const struct adapter_ops *const all[] = {&log_ops, &queue_ops, &stream_ops,
							&sink_ops};

	for (size_t i = 0; i < ARRAY_SIZE(all); ++i)
		if (strcmp(all[i]->kind, kind) == 0)
			return all[i];
	return NULL;
}

// ---- cases

static struct daemon bare; // without a proxy: of no cluster anything is known

static enum code check_with(const char *kind, const char *options, enum group_start start,
			    char text[128])
{
	const struct cluster cluster = {.name = "c1", .kind = kind, .options_json = options};
	const struct group group = {.object.kind = MODEL_GROUP, .start = (uint8_t)start};
	char *given = NULL;
	enum code code = validate_draft(&bare, &group.object, &cluster, &given);

	CHECK_EQ(code == CODE_OK, given == NULL);
	snprintf(text, 128, "%s", given ? given : "");
	free(given);
	return code;
}

static enum code check(const char *kind, enum group_start start, char text[128])
{
	return check_with(kind, "{}", start, text);
}

static void a_queue_begins_at_the_latest(void)
{
	char text[128];

	CHECK_EQ(check("queue", GROUP_START_LATEST, text), CODE_OK);
	CHECK_EQ(check("queue", GROUP_START_EARLIEST, text), CODE_UNSUPPORTED_BY_BACKEND);
	CHECK(strncmp(text, "start: on cluster \"c1\"", 22) == 0);
	CHECK_EQ(check("queue", GROUP_START_TIME, text), CODE_UNSUPPORTED_BY_BACKEND);
	for (int start = GROUP_START_EARLIEST; start <= GROUP_START_TIME; ++start)
		CHECK_EQ(check("log", (enum group_start)start, text), CODE_OK);
}

static void a_queue_with_a_history_begins_anywhere(void)
{
	char text[128];

	for (int start = GROUP_START_EARLIEST; start <= GROUP_START_TIME; ++start)
		CHECK_EQ(check_with("stream", "with", (enum group_start)start, text), CODE_OK);
	CHECK_EQ(check_with("stream", "without", GROUP_START_LATEST, text), CODE_OK);
	CHECK_EQ(check_with("stream", "without", GROUP_START_EARLIEST, text),
		 CODE_UNSUPPORTED_BY_BACKEND);
	CHECK_EQ(validate_group_start(&bare,
				      &(struct cluster){.kind = "stream", .options_json = "with"}),
		 GROUP_START_LATEST);
}

static void nothing_said_is_what_the_cluster_can(void)
{
	CHECK_EQ(validate_group_start(&bare, &(struct cluster){.kind = "queue"}),
		 GROUP_START_LATEST);
	CHECK_EQ(validate_group_start(&bare, &(struct cluster){.kind = "log"}),
		 GROUP_START_EARLIEST);
	CHECK_EQ(validate_group_start(&bare, &(struct cluster){.kind = "gone"}),
		 GROUP_START_EARLIEST);
}

static void a_sink_has_no_groups(void)
{
	char text[128];

	CHECK_EQ(check("sink", GROUP_START_LATEST, text), CODE_UNSUPPORTED_BY_BACKEND);
	CHECK(strncmp(text, "topic: ", 7) == 0);
}

UNIT_MAIN(UNIT_CASE(a_queue_begins_at_the_latest),
	  UNIT_CASE(a_queue_with_a_history_begins_anywhere),
	  UNIT_CASE(nothing_said_is_what_the_cluster_can), UNIT_CASE(a_sink_has_no_groups))
