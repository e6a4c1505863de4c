// mqpaasctl: the command line of operators, tenants and load tests. Reads the options, finds the
// command (commands.c for REST, local.c for the rest), and runs it with the context that it names.
//
// Invariant: a run whose output could not be written fails, whatever the server has done. It never
// asks a question without a terminal.

#include "core/base/util.h"
#include "ctl/commands.h"
#include "ctl/complete.h"
#include "ctl/context.h"
#include "ctl/global_options.h"
#include "ctl/local.h"

#include <errno.h>
#include <locale.h>
#include <mqpaas/mqpaas.h>
#include <stdio.h>

#define ARGUMENTS_MAX 16

static int help_all(void)
{
	const struct command *command;
	char usage[256];

	puts("mqpaasctl: operate and use MQPaaS\n\nUsage: mqpaasctl <noun> <verb> [arguments] "
	     "[options]\n");
	for (size_t i = 0; (command = commands_at(i)); ++i)
		printf("  %-40s %s\n", command_usage(command, usage, sizeof usage),
		       command->sentence);
	putchar('\n');
	for (const struct local *local = local_commands; local->name; ++local)
		printf("  %-40s %s\n", local->name, local->sentence);
	puts("\nOptions of every command:");
	option_help(global_options);
	puts("\nmqpaasctl <noun> <verb> --help shows the options of one command.");
	return CTL_OK;
}

static int help_command(const char *usage, const char *sentence, const struct option *options)
{
	printf("mqpaasctl %s\n\n%s\n", usage, sentence);
	if (options && options->name) {
		puts("\nOptions:");
		option_help(options);
	}
	puts("\nOptions of every command: mqpaasctl --help");
	return CTL_OK;
}

static int unknown_command(const char *noun, const char *verb)
{
	const struct command *command;
	bool known = false;

	for (size_t i = 0; (command = commands_at(i)); ++i)
		known = known || strcmp(command->noun, noun) == 0;
	if (!known)
		return ctl_fail(CTL_USAGE,
				"there is no command \"%s\"; mqpaasctl --help lists them", noun);
	ctl_fail(CTL_USAGE, verb ? "%s cannot do \"%s\"; it can:" : "%s what?%s It can:", noun,
		 verb ? verb : "");
	for (size_t i = 0; (command = commands_at(i)); ++i)
		if (strcmp(command->noun, noun) == 0)
			fprintf(stderr, "  %-10s %s\n", command->verb, command->sentence);
	return CTL_USAGE;
}

static bool has_flag(const json_t *values, const char *name)
{
	return json_is_true(json_object_get(values, name));
}

static int format_parse(const char *text, enum output_format *ret)
{
	static const char *const names[] = {"table", "json", "yaml"};

	for (size_t i = 0; text && i < ARRAY_SIZE(names); ++i) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum output_format)i;
			return 0;
		}
	}
	return text ? ctl_fail(CTL_USAGE, "--output \"%s\": not table, json or yaml", text) : 0;
}

// Options win over the environment, which wins over the context.
static int ctl_make(const json_t *values, struct ctl *ctl)
{
	int r = format_parse(json_string_value(json_object_get(values, "output")), &ctl->format);

	if (!r)
		r = context_load(json_string_value(json_object_get(values, "context")),
				 &ctl->context);
	if (!r)
		context_override(&ctl->context, values);
	ctl->quiet = has_flag(values, "quiet");
	ctl->yes = has_flag(values, "yes");
	return r;
}

static int run_command(const struct command *command, const struct local *local,
		       const char **arguments, size_t count, json_t *values)
{
	struct ctl ctl = {0};
	int r = ctl_make(values, &ctl);

	if (!r && command)
		r = command_run(&ctl, command, arguments, count, values);
	else if (!r)
		r = local->run(&ctl, arguments, count, values);
	context_deinit(&ctl.context);
	return r;
}

// ---- which command

// The first words that are no options name the command; options may stand before, between and
// behind them.
struct command_line {
	const char *words[2];
	char **rest; // the arguments without the words that name the command
	int rest_count;
	const struct command *command;
	const struct local *local;
};

// An option whose command is not known yet is looked up in the tables of all.
static int width_of(const char *argument)
{
	const struct option *tables[2] = {global_options, NULL};
	const struct command *command;
	int width = option_width(tables, argument);

	for (size_t i = 0; width == 1 && (command = commands_at(i)); ++i) {
		tables[0] = command->options;
		width = command->options ? option_width(tables, argument) : 1;
	}
	for (const struct local *local = local_commands; width == 1 && local->name; ++local) {
		tables[0] = local->options;
		width = local->options ? option_width(tables, argument) : 1;
	}
	return width;
}

static size_t words_most(const struct command_line *line)
{
	return line->words[0] && local_find(line->words[0]) ? 1 : 2;
}

static void command_line_read(struct command_line *line, int argc, char **argv)
{
	size_t count = 0;
	int at = 1;

	while (at < argc && strcmp(argv[at], "--") != 0) {
		int width = argv[at][0] == '-' && argv[at][1] ? width_of(argv[at]) : 1;

		if (argv[at][0] != '-' && count < words_most(line)) {
			line->words[count++] = argv[at++];
			continue;
		}
		for (int i = 0; i < width && at < argc; ++i)
			line->rest[line->rest_count++] = argv[at++];
	}
	while (at < argc)
		line->rest[line->rest_count++] = argv[at++];
	line->local = line->words[0] ? local_find(line->words[0]) : NULL;
	line->command = line->words[1] ? commands_find(line->words[0], line->words[1]) : NULL;
}

static int which_command(const json_t *values, size_t argument_count)
{
	if (json_object_size(values) == 0 && argument_count == 0)
		return help_all();
	if (has_flag(values, "help"))
		return help_all();
	return ctl_fail(CTL_USAGE, "which command? mqpaasctl --help lists them");
}

static int line_run(const struct command_line *line)
{
	const struct command *command = line->command;
	const struct local *local = line->local;
	const char *arguments[ARGUMENTS_MAX];
	const struct option *tables[3];
	json_t *values = json_object();
	size_t count, table = 0;
	char usage[256];
	int r;

	if (command && command->options)
		tables[table++] = command->options;
	if (local && local->options)
		tables[table++] = local->options;
	tables[table++] = global_options;
	tables[table] = NULL;
	r = option_parse(tables, line->rest_count, line->rest, values, arguments, ARGUMENTS_MAX,
			 &count);
	if (!r && has_flag(values, "version"))
		printf("mqpaasctl %s\n", mqp_version());
	else if (!r && command && has_flag(values, "help"))
		r = help_command(command_usage(command, usage, sizeof usage), command->sentence,
				 command->options);
	else if (!r && local && has_flag(values, "help"))
		r = help_command(local->usage, local->sentence, local->options);
	else if (!r && !command && !local)
		r = which_command(values, count);
	else if (!r)
		r = run_command(command, local, arguments, count, values);
	json_decref(values);
	return r;
}

static int command_line_run(int argc, char **argv)
{
	_cleanup_(freep) char **rest = calloc((size_t)argc + 1, sizeof *rest);
	struct command_line line = {.rest = rest};

	if (!rest)
		return ctl_fail(CTL_FAILED, "out of memory");
	command_line_read(&line, argc, argv);
	if (line.words[0] && !line.command && !line.local)
		return unknown_command(line.words[0], line.words[1]);
	return line_run(&line);
}

// What was not written was not said, whatever the server has done.
static int output_end(int r)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return r;
	ctl_fail(CTL_FAILED, "standard output could not be written: %s", strerror(errno));
	return r ? r : CTL_FAILED;
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	if (argc >= 2 && strcmp(argv[1], "__complete") == 0)
		return output_end(complete_words(argc - 2, argv + 2));
	return output_end(command_line_run(argc, argv));
}
