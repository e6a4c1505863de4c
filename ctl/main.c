// mqpaasctl: the command line of operators, tenants and load tests.

#include "core/base/util.h"
#include "ctl/command.h"
#include "ctl/complete.h"
#include "ctl/context.h"
#include "ctl/local.h"

#include <locale.h>
#include <mqpaas/mqpaas.h>
#include <stdarg.h>
#include <stdio.h>

#define ARGUMENTS_MAX 16

int ctl_fail(int status, const char *fmt, ...)
{
	va_list args;

	fputs("mqpaasctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

static int help_all(void)
{
	const struct command *command;
	char usage[256];

	puts("mqpaasctl: operate and use MQPaaS\n\nUsage: mqpaasctl <noun> <verb> [arguments] "
	     "[options]\n");
	for (size_t i = 0; (command = command_at(i)); ++i)
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

	for (size_t i = 0; (command = command_at(i)); ++i)
		known = known || strcmp(command->noun, noun) == 0;
	if (!known)
		return ctl_fail(CTL_USAGE,
				"there is no command \"%s\"; mqpaasctl --help lists them", noun);
	ctl_fail(CTL_USAGE, verb ? "%s cannot do \"%s\"; it can:" : "%s what?%s It can:", noun,
		 verb ? verb : "");
	for (size_t i = 0; (command = command_at(i)); ++i)
		if (strcmp(command->noun, noun) == 0)
			fprintf(stderr, "  %-10s %s\n", command->verb, command->sentence);
	return CTL_USAGE;
}

static bool flag(const json_t *values, const char *name)
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
	static const char *const members[][2] = {{"url", "url"},
						 {"token", "token"},
						 {"ca_file", "ca_file"},
						 {"addresses", "addresses"},
						 {"access_key", "access_key"},
						 {"secret", "secret"},
						 {"ctl_tenant", "tenant"}};
	int r = format_parse(json_string_value(json_object_get(values, "output")), &ctl->format);

	if (!r)
		r = context_load(json_string_value(json_object_get(values, "context")),
				 &ctl->context);
	for (size_t i = 0; !r && i < ARRAY_SIZE(members); ++i) {
		const char *value = json_string_value(json_object_get(values, members[i][0]));
		char **member = context_member(&ctl->context, members[i][1]);

		if (value) {
			free(*member);
			*member = strdup(value);
		}
	}
	ctl->quiet = flag(values, "quiet");
	ctl->yes = flag(values, "yes");
	return r;
}

static int run(const struct command *command, const struct local *local, const char **arguments,
	       size_t count, json_t *values)
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

// Options may stand anywhere, so the command is found first: the first two words that are no
// options.
static void command_words(int argc, char **argv, const char *words[2])
{
	size_t count = 0;

	for (int i = 1; i < argc && count < 2; ++i)
		if (argv[i][0] != '-')
			words[count++] = argv[i];
		else
			break;
}

int main(int argc, char **argv)
{
	const char *words[2] = {NULL, NULL}, *arguments[ARGUMENTS_MAX];
	const struct command *command;
	const struct local *local;
	const struct option *tables[3];
	char usage[256];
	json_t *values;
	size_t count, table = 0, skip;
	int r;

	setlocale(LC_CTYPE, "");
	if (argc >= 2 && strcmp(argv[1], "__complete") == 0)
		return complete_words(argc - 2, argv + 2);
	command_words(argc, argv, words);
	local = words[0] ? local_find(words[0]) : NULL;
	command = words[1] ? command_find(words[0], words[1]) : NULL;
	skip = command ? 2 : local ? 1 : 0;
	if (words[0] && !command && !local)
		return unknown_command(words[0], words[1]);
	if (command && command->options)
		tables[table++] = command->options;
	if (local && local->options)
		tables[table++] = local->options;
	tables[table++] = global_options;
	tables[table] = NULL;
	values = json_object();
	r = option_parse(tables, argc - 1 - (int)skip, argv + 1 + skip, values, arguments,
			 ARGUMENTS_MAX, &count);
	if (!r && flag(values, "version"))
		printf("mqpaasctl %s\n", mqp_version());
	else if (!r && command && flag(values, "help"))
		r = help_command(command_usage(command, usage, sizeof usage), command->sentence,
				 command->options);
	else if (!r && local && flag(values, "help"))
		r = help_command(local->usage, local->sentence, local->options);
	else if (!r && (!words[0] || flag(values, "help")))
		r = help_all();
	else if (!r)
		r = run(command, local, arguments, count, values);
	json_decref(values);
	return r;
}
