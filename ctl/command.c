// Runs a command of the table: its row, arguments and options become one REST call (a list: one for
// each page), whose answer is printed.
//
// What loses something is previewed and confirmed first. A secret that is shown once is also
// written to standard error if standard output fails.
//
// Invariants: every argument and option has a meaning for the command, or the command is refused
// before any call. Passwords and tokens given as "-" come from standard input. Not here: the
// commands themselves (commands.c).

#include "ctl/command.h"

#include "core/base/util.h"
#include "ctl/output.h"
#include "ctl/rest.h"

#include <errno.h>
#include <stdio.h>

const char *command_usage(const struct command *command, char *room, size_t size)
{
	size_t used = (size_t)snprintf(room, size, "%s %s", command->noun, command->verb);

	for (const char *open = strchr(command->path, '{'); open && used < size;
	     open = strchr(open + 1, '{')) {
		int length = (int)strcspn(open + 1, "}");

		if (strncmp(open, "{tenant}", 8) != 0)
			used += (size_t)snprintf(room + used, size - used, " <%.*s>", length,
						 open + 1);
	}
	if (command->name_member && used < size)
		snprintf(room + used, size - used, " <%s>", command->name_member);
	return room;
}

struct path {
	char text[2048];
	size_t size;
};

static void path_add(struct path *path, const char *text, size_t size)
{
	size = MIN(size, sizeof path->text - 1 - path->size);
	memcpy(path->text + path->size, text, size);
	path->size += size;
	path->text[path->size] = '\0';
}

static void path_add_query(struct path *path, const char *name, const char *value)
{
	_cleanup_(freep) char *escaped = rest_escape(value);

	path_add(path, strchr(path->text, '?') ? "&" : "?", 1);
	path_add(path, name, strlen(name));
	path_add(path, "=", 1);
	path_add(path, escaped, strlen(escaped));
}

// Fills the {placeholders}; *ret_used says how many arguments that took.
static int path_fill(const struct ctl *ctl, const struct command *command, const char **arguments,
		     size_t count, struct path *path, size_t *ret_used)
{
	const char *at = command->path;
	char usage[256];
	size_t used = 0;

	for (const char *open; (open = strchr(at, '{')); at = strchr(open, '}') + 1) {
		bool tenant = strncmp(open, "{tenant}", 8) == 0;
		const char *value = tenant         ? ctl->context.tenant
				    : used < count ? arguments[used++]
						   : NULL;
		_cleanup_(freep) char *escaped = value ? rest_escape(value) : NULL;

		if (!value && tenant)
			return ctl_fail(CTL_USAGE, "which tenant? Give --tenant NAME, set "
						   "MQPAAS_TENANT, or put it into the context");
		if (!value)
			return ctl_fail(CTL_USAGE, "an argument is missing: mqpaasctl %s",
					command_usage(command, usage, sizeof usage));
		path_add(path, at, (size_t)(open - at));
		path_add(path, escaped, strlen(escaped));
	}
	path_add(path, at, strlen(at));
	*ret_used = used;
	return 0;
}

// ---- options that are written otherwise than they are sent

static void grants_add(json_t *grants, json_t *patterns, const char *right)
{
	const json_t *pattern;
	size_t i;

	json_array_foreach(patterns, i, pattern) json_array_append_new(
		grants, json_pack("{s:O,s:[s]}", "pattern", pattern, "rights", right));
}

// --produce and --consume become one list of grants.
static void grants_make(json_t *body)
{
	json_t *produce = json_object_get(body, "produce"),
	       *consume = json_object_get(body, "consume"), *grants;

	if (!produce && !consume)
		return;
	grants = json_object_get(body, "grants");
	if (!grants) {
		grants = json_array();
		json_object_set_new(body, "grants", grants);
	}
	grants_add(grants, produce, "produce");
	grants_add(grants, consume, "consume");
	json_object_del(body, "produce");
	json_object_del(body, "consume");
}

static int start_make(json_t *body)
{
	const char *start = json_string_value(json_object_get(body, "start")), *problem;
	json_t *ms;

	if (!start)
		return 0;
	if (strcmp(start, "earliest") == 0 || strcmp(start, "latest") == 0)
		return json_object_set_new(body, "start", json_pack("{s:s}", "from", start));
	ms = value_parse(VALUE_COUNT, start, &problem);
	if (!json_is_integer(ms))
		return ctl_fail(CTL_USAGE,
				"--start \"%s\": not earliest, latest or milliseconds since 1970",
				start);
	return json_object_set_new(body, "start",
				   json_pack("{s:s,s:o}", "from", "time", "time_ms", ms));
}

static json_t *positions_parse(const char *text)
{
	json_t *positions = json_array();
	unsigned long long offset;
	unsigned partition;
	int size;

	for (; sscanf(text, "%u:%llu%n", &partition, &offset, &size) == 2;
	     text += size + (text[size] == ',')) {
		json_array_append_new(positions, json_pack("{s:i,s:I}", "partition", (int)partition,
							   "offset", (json_int_t)offset));
		if (text[size] == '\0')
			return positions;
	}
	json_decref(positions);
	return NULL;
}

static int reset_make(json_t *body)
{
	const char *to = json_string_value(json_object_get(body, "to")), *problem;
	json_t *value = NULL;

	if (!to)
		return 0;
	if (strcmp(to, "earliest") == 0 || strcmp(to, "latest") == 0) {
		value = json_pack("{s:s}", "at", to);
	} else if (strncmp(to, "time:", 5) == 0) {
		json_t *ms = value_parse(VALUE_COUNT, to + 5, &problem);

		value = ms ? json_pack("{s:s,s:o}", "at", "time", "time_ms", ms) : NULL;
	} else {
		json_t *positions = positions_parse(to);

		value = positions
				? json_pack("{s:s,s:o}", "at", "positions", "positions", positions)
				: NULL;
	}
	if (!value)
		return ctl_fail(CTL_USAGE,
				"--to \"%s\": not earliest, latest, time:MS or PARTITION:OFFSET,…",
				to);
	return json_object_set_new(body, "to", value);
}

// --topics and --groups of an import: "orders.v1=orders" is {physical, name}.
static void import_make(json_t *body, const char *member)
{
	json_t *names = json_object_get(body, member), *chosen = json_array();
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		const char *text = json_string_value(name), *equals = strchr(text, '=');

		json_array_append_new(chosen, equals ? json_pack("{s:s%, s:s}", "physical", text,
								 (size_t)(equals - text), "name",
								 equals + 1)
						     : json_pack("{s:s}", "physical", text));
	}
	if (names)
		json_object_set(body, member, chosen);
	json_decref(chosen);
}

// "-" reads one line of standard input, so that a secret stands in no process list.
static int secret_read(json_t *body, const char *member)
{
	const char *value = json_string_value(json_object_get(body, member));
	_cleanup_(freep) char *line = NULL;
	size_t room = 0;
	ssize_t size;

	if (!value || strcmp(value, "-") != 0)
		return 0;
	size = getline(&line, &room, stdin);
	if (size <= 0)
		return ctl_fail(CTL_USAGE, "standard input ended where the %s was expected",
				member);
	line[strcspn(line, "\r\n")] = '\0';
	return json_object_set_new(body, member, json_string(line));
}

// The document of --file first, then options over it, then the name from the arguments; last the
// members that are written otherwise on the command line. The body is the caller's to free.
static int body_make(const struct command *command, const char **arguments, size_t used,
		     size_t count, json_t *values, json_t **ret)
{
	const char *file = json_string_value(json_object_get(values, "file"));
	char usage[256];
	json_error_t error;
	json_t *body;
	int r = 0;

	if (file) {
		body = strcmp(file, "-") == 0
			       ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
			       : json_load_file(file, JSON_REJECT_DUPLICATES, &error);
		if (!body)
			return ctl_fail(CTL_USAGE, "%s:%d:%d: %s", file, error.line, error.column,
					error.text);
	} else if (command->flags & COMMAND_FILE) {
		return ctl_fail(CTL_USAGE,
				"which document? Give --file FILE, or --file - for standard input");
	} else {
		body = json_object();
	}
	for (const struct option *option = command->options; option && option->name; ++option) {
		const json_t *value = option_get_path(values, option->member);

		if (value)
			option_set_path(body, option->member, json_incref((json_t *)value));
	}
	if (command->name_member && used < count)
		json_object_set_new(body, command->name_member, json_string(arguments[used++]));
	else if (command->name_member && !json_object_get(body, command->name_member))
		r = ctl_fail(CTL_USAGE, "an argument is missing: mqpaasctl %s",
			     command_usage(command, usage, sizeof usage));
	if (!r && used < count)
		r = ctl_fail(CTL_USAGE, "\"%s\" is one argument too many: mqpaasctl %s",
			     arguments[used], command_usage(command, usage, sizeof usage));
	grants_make(body);
	if (!r)
		r = start_make(body);
	if (!r)
		r = reset_make(body);
	if (strstr(command->path, "/import")) {
		import_make(body, "topics");
		import_make(body, "groups");
	}
	if (!r)
		r = secret_read(body, "token");
	if (!r)
		r = secret_read(body, "password");
	if (r) {
		json_decref(body);
		return r;
	}
	*ret = body;
	return 0;
}

static void query_make(const struct command *command, const json_t *values, struct path *path)
{
	for (const struct option *option = command->options; option && option->name; ++option) {
		const json_t *value = option_get_path(values, option->member);
		_cleanup_(freep) char *text = json_is_string(value)
						      ? strdup(json_string_value(value))
					      : value ? json_dumps(value, JSON_ENCODE_ANY)
						      : NULL;

		if (text)
			path_add_query(path, option->member, text);
	}
}

// ---- lists

// Follows `next` from page to page until the limit. The last page may hold more than was asked for,
// so the list is cut at the end.
static int list_run(const struct ctl *ctl, const struct command *command, const char *path,
		    uint64_t limit)
{
	json_t *items = json_array(), *whole = json_pack("{s:o}", "items", items);
	_cleanup_(freep) char *cursor = NULL;
	int r = 0;

	do {
		struct rest_answer answer;
		struct path page = {0};

		path_add(&page, path, strlen(path));
		path_add_query(&page, "limit",
			       limit - json_array_size(items) >= 500 ? "500" : "50");
		if (cursor)
			path_add_query(&page, "cursor", cursor);
		freep(&cursor);
		cursor = NULL;
		r = rest_call(&ctl->context, command->method, page.text, NULL, NULL, &answer);
		if (r)
			break;
		if (answer.status >= 300) {
			r = rest_fail(&answer);
		} else {
			const char *next = json_string_value(json_object_get(answer.body, "next"));

			json_array_extend(items, json_object_get(answer.body, "items"));
			cursor = next ? strdup(next) : NULL;
		}
		rest_answer_deinit(&answer);
	} while (!r && cursor && json_array_size(items) < limit);
	while (json_array_size(items) > limit)
		json_array_remove(items, json_array_size(items) - 1);
	if (!r)
		output_print(whole, ctl->format, command->columns);
	json_decref(whole);
	return r;
}

// ---- what loses something

static bool person_agrees(void)
{
	char line[16] = "";

	fprintf(stderr, "Go on? Type yes: ");
	return fgets(line, sizeof line, stdin) && strcmp(line, "yes\n") == 0;
}

// Shows what would happen and asks. Without a terminal nothing is done unless --yes was given.
static int confirm_command(const struct ctl *ctl, const struct command *command,
			   const struct path *path, json_t *body)
{
	struct path preview = *path;
	struct rest_answer answer;
	json_t *asked;
	int r;

	if (ctl->yes)
		return 0;
	asked = body ? json_copy(body) : NULL;
	if (command->flags & COMMAND_PREVIEW)
		json_object_set_new(asked, "preview", json_true());
	else
		path_add_query(&preview, "preview", "true");
	r = rest_call(&ctl->context, command->method, preview.text, asked, NULL, &answer);
	json_decref(asked);
	if (r)
		return r;
	r = answer.status >= 300 ? rest_fail(&answer) : 0;
	if (!r && answer.body)
		output_print(answer.body, ctl->format, NULL);
	rest_answer_deinit(&answer);
	if (r)
		return r;
	if (!isatty(STDIN_FILENO))
		return ctl_fail(CTL_USAGE, "this loses something and there is no terminal to ask "
					   "at: give --yes to do it");
	return person_agrees() ? 0 : ctl_fail(CTL_FAILED, "nothing was done");
}

// What is shown this once must not be lost with the output: the error output may be another place.
static int secret_rescue(const struct rest_answer *answer)
{
	_cleanup_(freep) char *text = json_dumps(answer->body, JSON_INDENT(2));
	int r = ctl_fail(CTL_FAILED,
			 "standard output could not be written: %s; it was done, and what is shown "
			 "this once is:",
			 strerror(errno));

	fprintf(stderr, "%s\n", text ? text : "?");
	return r;
}

static int answer_print(const struct ctl *ctl, const struct command *command,
			const struct rest_answer *answer)
{
	bool secret = command->flags & COMMAND_SECRET; // --quiet leaves out what was not asked for

	if (answer->body && (secret || !ctl->quiet))
		output_print(answer->body, ctl->format, command->columns);
	else if (answer->text && !ctl->quiet)
		fputs(answer->text, stdout);
	if (!secret || !answer->body)
		return 0;
	if (fflush(stdout) != 0 || ferror(stdout))
		return secret_rescue(answer);
	if (ctl->format == OUTPUT_TABLE && !ctl->quiet)
		fputs("\nThe secret above is not stored and cannot be shown again.\n", stderr);
	return 0;
}

// Whatever is given has a meaning for the command, or the command is not the one that was meant.
static int arguments_check(const struct command *command, const char **arguments, size_t used,
			   size_t count, const json_t *values)
{
	bool body = command->flags & (COMMAND_BODY | COMMAND_FILE);
	char usage[256];

	if (!body && used < count)
		return ctl_fail(CTL_USAGE, "\"%s\" is one argument too many: mqpaasctl %s",
				arguments[used], command_usage(command, usage, sizeof usage));
	if (!body && json_object_get(values, "file"))
		return ctl_fail(CTL_USAGE, "--file: %s sends no body",
				command_usage(command, usage, sizeof usage));
	if (json_is_true(json_object_get(values, "force")) &&
	    strcmp(command->method, "DELETE") != 0)
		return ctl_fail(CTL_USAGE, "--force goes with delete");
	return 0;
}

// What is wrong with the command line is reported before the first call, so that a refused command
// has changed nothing.
int command_run(const struct ctl *ctl, const struct command *command, const char **arguments,
		size_t count, json_t *values)
{
	const json_t *limit = json_object_get(values, "list_limit");
	struct rest_answer answer;
	struct path path = {0};
	json_t *body = NULL;
	size_t used = 0;
	int r = path_fill(ctl, command, arguments, count, &path, &used);

	if (!r)
		r = arguments_check(command, arguments, used, count, values);
	if (r)
		return r;
	if (command->flags & COMMAND_LIST)
		return list_run(ctl, command, path.text,
				json_is_integer(limit) ? (uint64_t)json_integer_value(limit)
						       : UINT64_MAX);
	if (command->flags & (COMMAND_BODY | COMMAND_FILE))
		r = body_make(command, arguments, used, count, values, &body);
	else
		query_make(command, values, &path);
	if (!r && json_is_true(json_object_get(values, "force")))
		path_add_query(&path, "force", "true");
	if (!r && (command->flags & COMMAND_CONFIRM))
		r = confirm_command(ctl, command, &path, body);
	if (!r)
		r = rest_call(&ctl->context, command->method, path.text, body,
			      json_string_value(json_object_get(values, "if_match")), &answer);
	json_decref(body);
	if (r)
		return r;
	if (answer.status >= 300)
		r = rest_fail(&answer);
	else
		r = answer_print(ctl, command, &answer);
	rest_answer_deinit(&answer);
	return r;
}
