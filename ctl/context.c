// Contexts: named sets of portal, proxies, credentials and tenant, in a JSON file of the user.
//
// A value comes from the command line, else from the environment, else from the context. The file
// is replaced as a whole (written beside, renamed), so that a crash leaves the old or the new one.
//
// Invariants: a token is sent only to the portal that it was stored for; tokens and secrets are
// never listed; the file is readable by its owner only. Two runs that write at once are not merged:
// the later one wins.

#include "ctl/context.h"

#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

//        member, environment variable
#define MEMBERS(ROW)                                                                               \
	ROW(url, "MQPAAS_URL")                                                                     \
	ROW(token, "MQPAAS_TOKEN")                                                                 \
	ROW(ca_file, "MQPAAS_CA_FILE")                                                             \
	ROW(addresses, "MQPAAS_ADDRESS")                                                           \
	ROW(access_key, "MQPAAS_ACCESS_KEY")                                                       \
	ROW(secret, "MQPAAS_SECRET")                                                               \
	ROW(tenant, "MQPAAS_TENANT")

#define MEMBER_ROW(member, variable) {#member, variable, offsetof(struct context, member)},
static const struct {
	const char *name;
	const char *variable;
	size_t offset;
} members[] = {MEMBERS(MEMBER_ROW)};
#undef MEMBER_ROW

static char **member_at(struct context *context, size_t index)
{
	return (char **)(void *)((char *)context + members[index].offset);
}

// What the command line gives for a member; NULL: nothing.
static const char *option_of(const json_t *options, const char *member)
{
	bool tenant = strcmp(member, "tenant") == 0; // bodies have a member of that name

	return json_string_value(json_object_get(options, tenant ? "ctl_tenant" : member));
}

static char *file_path(void)
{
	const char *file = getenv("MQPAAS_CONFIG"), *config = getenv("XDG_CONFIG_HOME"),
		   *home = getenv("HOME");
	char *path = NULL;

	if (file && *file)
		return strdup(file);
	if (config && *config)
		return asprintf(&path, "%s/mqpaas/contexts.json", config) < 0 ? NULL : path;
	return asprintf(&path, "%s/.config/mqpaas/contexts.json", home && *home ? home : "/root") <
			       0
		       ? NULL
		       : path;
}

// An absent file is an empty one.
static int file_read(json_t **ret)
{
	_cleanup_(freep) char *path = file_path();
	json_error_t error;
	json_t *file;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		*ret = json_pack("{s:{}}", "contexts");
		return 0;
	}
	file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!file)
		return ctl_fail(CTL_USAGE, "%s:%d:%d: %s", path, error.line, error.column,
				error.text);
	if (!json_is_object(json_object_get(file, "contexts"))) {
		json_decref(file);
		return ctl_fail(CTL_USAGE,
				"%s: there is no object \"contexts\" in it; move the file away to "
				"begin anew",
				path);
	}
	*ret = file;
	return 0;
}

static int directories_make(const char *path)
{
	_cleanup_(freep) char *copy = strdup(path);

	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return ctl_fail(CTL_FAILED, "%s: %s", copy, strerror(errno));
		*slash = '/';
	}
	return 0;
}

static int file_write(const json_t *file)
{
	_cleanup_(freep) char *path = file_path(), *beside = NULL;
	_cleanup_(closep) int fd = -1;
	int r = directories_make(path);

	if (r)
		return r;
	if (asprintf(&beside, "%s.new", path) < 0)
		return ctl_fail(CTL_FAILED, "out of memory");
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || json_dumpfd(file, fd, JSON_INDENT(2)) < 0 || fsync(fd) < 0 ||
	    rename(beside, path) < 0)
		return ctl_fail(CTL_FAILED, "%s: %s", path, strerror(errno));
	return 0;
}

static void member_set(char **member, const char *value)
{
	free(*member);
	*member = strdup(value);
}

static void token_place(struct context *context, const json_t *entry)
{
	const char *token = json_string_value(json_object_get(entry, "token"));
	const char *url = json_string_value(json_object_get(entry, "url"));

	if (token && url && strcmp(context->token, token) == 0)
		member_set(&context->token_url, url);
}

// The token goes with its portal: to another one it would be a gift.
static void token_keep_home(struct context *context)
{
	if (!context->token_url || (context->url && strcmp(context->url, context->token_url) == 0))
		return;
	ctl_fail(CTL_OK, "the token of context \"%s\" is for %s and is not sent elsewhere",
		 context->name, context->token_url);
	freep(&context->token);
	context->token = NULL;
}

void context_override(struct context *context, const json_t *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); ++i) {
		const char *value = option_of(options, members[i].name);

		if (value)
			member_set(member_at(context, i), value);
	}
	if (option_of(options, "token")) {
		freep(&context->token_url);
		context->token_url = NULL;
	}
	token_keep_home(context);
}

// A context that is named must exist; without a name the current one is used, or none. The
// environment wins over the entry; the command line is applied later (context_override()).
int context_load(const char *name, struct context *ret)
{
	struct context context = {0};
	json_t *file, *entry = NULL;
	int r = file_read(&file);

	if (r)
		return r;
	if (!name)
		name = getenv("MQPAAS_CONTEXT");
	if (name && *name) {
		entry = json_object_get(json_object_get(file, "contexts"), name);
		if (!entry) {
			ctl_fail(CTL_USAGE,
				 "no context is called \"%s\"; mqpaasctl context list shows those "
				 "there are",
				 name);
			json_decref(file);
			return CTL_USAGE;
		}
	} else {
		name = json_string_value(json_object_get(file, "current"));
		entry = name ? json_object_get(json_object_get(file, "contexts"), name) : NULL;
	}
	if (entry)
		member_set(&context.name, name);
	for (size_t i = 0; i < ARRAY_SIZE(members); ++i) {
		const char *value = getenv(members[i].variable);

		if (!value || !*value)
			value = json_string_value(json_object_get(entry, members[i].name));
		if (value)
			member_set(member_at(&context, i), value);
	}
	token_place(&context, entry);
	json_decref(file);
	*ret = context;
	return 0;
}

void context_deinit(struct context *context)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
		free(*member_at(context, i));
	free(context->name);
	free(context->token_url);
	*context = (struct context){0};
}

int context_list(json_t **ret)
{
	json_t *file, *entry, *items = json_array();
	const char *name, *current;
	int r = file_read(&file);

	if (r) {
		json_decref(items);
		return r;
	}
	current = json_string_value(json_object_get(file, "current"));
	json_object_foreach(json_object_get(file, "contexts"), name, entry)
	{
		json_t *row = json_pack("{s:s,s:b}", "name", name, "current",
					current && strcmp(current, name) == 0);

		for (size_t i = 0; i < ARRAY_SIZE(members); ++i) {
			json_t *value = json_object_get(entry, members[i].name);

			if (value && strcmp(members[i].name, "token") != 0 &&
			    strcmp(members[i].name, "secret") != 0)
				json_object_set(row, members[i].name, value);
		}
		json_array_append_new(items, row);
	}
	json_decref(file);
	*ret = json_pack("{s:o}", "items", items);
	return 0;
}

static bool anything_given(const json_t *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
		if (option_of(options, members[i].name))
			return true;
	return false;
}

// A token of the portal that the entry had so far.
static void forget_token(json_t *entry, const json_t *options)
{
	const char *url = option_of(options, "url"),
		   *before = json_string_value(json_object_get(entry, "url"));

	if (!url || !before || strcmp(url, before) == 0 || !json_object_get(entry, "token") ||
	    option_of(options, "token"))
		return;
	json_object_del(entry, "token");
	ctl_fail(CTL_OK, "the token was for the portal that stood here before: it is not kept");
}

int context_save(const char *name, const json_t *options)
{
	json_t *file, *contexts, *entry;
	int r;

	if (!anything_given(options))
		return ctl_fail(CTL_USAGE, "nothing to set: give --url, --token, --address, "
					   "--access-key, --secret, --tenant or --ca-file");
	r = file_read(&file);
	if (r)
		return r;
	contexts = json_object_get(file, "contexts");
	entry = json_object_get(contexts, name);
	if (!entry) {
		entry = json_object();
		json_object_set_new(contexts, name, entry);
	}
	forget_token(entry, options);
	for (size_t i = 0; i < ARRAY_SIZE(members); ++i) {
		const char *value = option_of(options, members[i].name);

		if (value)
			json_object_set_new(entry, members[i].name, json_string(value));
	}
	if (!json_object_get(file, "current"))
		json_object_set_new(file, "current", json_string(name));
	r = file_write(file);
	json_decref(file);
	return r;
}

int context_use(const char *name)
{
	json_t *file;
	int r = file_read(&file);

	if (r)
		return r;
	if (!json_object_get(json_object_get(file, "contexts"), name)) {
		r = ctl_fail(
			CTL_MISSING,
			"no context is called \"%s\"; mqpaasctl context list shows those there are",
			name);
	} else {
		json_object_set_new(file, "current", json_string(name));
		r = file_write(file);
	}
	json_decref(file);
	return r;
}

int context_delete(const char *name)
{
	json_t *file;
	const char *current;
	int r = file_read(&file);

	if (r)
		return r;
	current = json_string_value(json_object_get(file, "current"));
	if (json_object_del(json_object_get(file, "contexts"), name) < 0) {
		r = ctl_fail(CTL_MISSING, "no context is called \"%s\"", name);
	} else {
		if (current && strcmp(current, name) == 0)
			json_object_del(file, "current");
		r = file_write(file);
	}
	json_decref(file);
	return r;
}
