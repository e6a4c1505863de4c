// The table of local commands, which are not one REST call: contexts, sending and receiving, load
// tests, completion. The small ones are implemented here.

#include "ctl/local.h"

#include "core/base/util.h"
#include "ctl/complete.h"
#include "ctl/context.h"
#include "ctl/output.h"
#include "ctl/perf.h"
#include "ctl/stream.h"
#include "ctl/top.h"

static int usage_fail(const char *name)
{
	return ctl_fail(CTL_USAGE, "usage: mqpaasctl %s", local_find(name)->usage);
}

static int run_context(const struct ctl *ctl, const char **arguments, size_t count,
		       const json_t *values)
{
	json_t *list;
	int r;

	if (count == 1 && strcmp(arguments[0], "list") == 0) {
		r = context_list(&list);
		if (!r) {
			output_print(list, ctl->format,
				     "name,current,url,addresses,access_key,tenant");
			json_decref(list);
		}
		return r;
	}
	if (count == 2 && strcmp(arguments[0], "set") == 0)
		return context_save(arguments[1], values);
	if (count == 2 && strcmp(arguments[0], "use") == 0)
		return context_use(arguments[1]);
	if (count == 2 && strcmp(arguments[0], "delete") == 0)
		return context_delete(arguments[1]);
	return usage_fail("context");
}

static int run_produce(const struct ctl *ctl, const char **arguments, size_t count,
		       const json_t *values)
{
	return count == 1 ? stream_produce(ctl, arguments[0], values) : usage_fail("produce");
}

static int run_consume(const struct ctl *ctl, const char **arguments, size_t count,
		       const json_t *values)
{
	return count == 1 ? stream_consume(ctl, arguments[0], values) : usage_fail("consume");
}

static int run_perf(const struct ctl *ctl, const char **arguments, size_t count,
		    const json_t *values)
{
	if (count == 2 && strcmp(arguments[0], "produce") == 0)
		return perf_run(ctl, arguments[1], NULL, values);
	if (count == 2 && strcmp(arguments[0], "consume") == 0)
		return perf_run(ctl, NULL, arguments[1], values);
	if (count == 3 && strcmp(arguments[0], "e2e") == 0)
		return perf_run(ctl, arguments[1], arguments[2], values);
	return usage_fail("perf");
}

static int run_top(const struct ctl *ctl, const char **arguments, size_t count,
		   const json_t *values)
{
	(void)arguments;
	return count == 0 ? top_run(ctl, values) : usage_fail("top");
}

static int run_completion(const struct ctl *ctl, const char **arguments, size_t count,
			  const json_t *values)
{
	(void)ctl;
	(void)values;
	return count == 1 ? complete_script(arguments[0]) : usage_fail("completion");
}

const struct local local_commands[] = {
	{"context", "list\nset\nuse\ndelete",
	 "context list | set NAME [--url … --token …] | use NAME | delete NAME", NULL, run_context,
	 "named contexts: which portal and proxies, and as whom"},
	{"produce", NULL, "produce <topic> [options] < lines", stream_produce_options, run_produce,
	 "send every line of standard input"},
	{"consume", NULL, "consume <group> [options] > lines", stream_consume_options, run_consume,
	 "print messages and acknowledge them"},
	{"perf", "produce\nconsume\ne2e",
	 "perf produce <topic> | consume <group> | e2e <topic> <group>", perf_options, run_perf,
	 "load test with rates and percentiles"},
	{"top", NULL, "top [--interval 2s] [--rounds N]", top_options, run_top,
	 "clusters and backlogs, the oldest first, again and again"},
	{"completion", "bash\nzsh", "completion bash | zsh", NULL, run_completion,
	 "print a script for the shell"},
	{NULL, NULL, NULL, NULL, NULL, NULL},
};

const struct local *local_find(const char *name)
{
	for (const struct local *local = local_commands; local->name; ++local)
		if (strcmp(local->name, name) == 0)
			return local;
	return NULL;
}
