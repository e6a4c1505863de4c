// The configuration of a client: copied, checked, and completed from the credentials file and the
// environment.
//
// Each of address, access key and secret comes from the first place that names it: the
// configuration, the credentials file, the environment. A file that is being replaced is noticed by
// its inode, size or time, so writers should write beside and rename.
//
// Invariants: a reload that fails leaves all values as they are; secrets are overwritten before
// their memory is given back. Not here: when to look at the file (client.c), and using new values
// (rotation.c).

#include "sdk/c/src/settings.h"

#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX      65536u
#define CONNECT_DEFAULT_MS 10000u
#define CONNECT_MAX_MS     600000u
#define ADDRESS_DEFAULT    "127.0.0.1:7300"

void mqp_client_config_init(struct mqp_client_config *config, size_t size)
{
	if (!config || size < sizeof config->size)
		return;
	memset(config, 0, size);
	config->size = size;
	if (size >= offsetof(struct mqp_client_config, log_level) + sizeof config->log_level)
		config->log_level = MQP_LOG_WARN;
}

static enum mqp_code text_copy(struct settings *settings, const char **text)
{
	char *copy;

	if (!*text)
		return MQP_OK;
	assert(settings->text_count < ARRAY_SIZE(settings->texts));
	copy = strdup(*text);
	if (!copy)
		return MQP_NO_MEMORY;
	settings->texts[settings->text_count++] = copy;
	*text = copy;
	return MQP_OK;
}

static enum mqp_code texts_copy(struct settings *settings)
{
	struct mqp_client_config *config = &settings->config;
	const char **texts[] = {
		&config->credentials_file, &config->tls_ca_file, &config->tls_cert_file,
		&config->tls_key_file,     &config->tls_name,    &config->client_id,
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); ++i)
		if (text_copy(settings, texts[i]) != MQP_OK)
			return MQP_NO_MEMORY;
	return MQP_OK;
}

static int value_set(char *to, size_t size, const char *from, size_t from_size)
{
	if (from_size >= size)
		return -EINVAL;
	memcpy(to, from, from_size);
	to[from_size] = 0;
	return 0;
}

static bool name_is(const char *line, size_t size, const char *name)
{
	return size == strlen(name) && memcmp(line, name, size) == 0;
}

// One line NAME=value of the file; spaces at the end and quotes around the value do not count.
static int line_apply(struct credentials *use, const char *line, size_t size)
{
	const char *equals = memchr(line, '=', size), *value;
	size_t name_size, value_size;

	if (size == 0 || line[0] == '#' || !equals)
		return 0;
	name_size = (size_t)(equals - line);
	value = equals + 1;
	value_size = size - name_size - 1;
	while (value_size > 0 && strchr(" \t\r", value[value_size - 1]))
		--value_size;
	if (value_size >= 2 && value[0] == '"' && value[value_size - 1] == '"') {
		++value;
		value_size -= 2;
	}
	if (name_is(line, name_size, "MQPAAS_ADDRESS"))
		return value_set(use->addresses, sizeof use->addresses, value, value_size);
	if (name_is(line, name_size, "MQPAAS_ACCESS_KEY"))
		return value_set(use->access_key, sizeof use->access_key, value, value_size);
	if (name_is(line, name_size, "MQPAAS_SECRET"))
		return value_set(use->secret, sizeof use->secret, value, value_size);
	return 0;
}

static int file_apply(struct credentials *use, const char *text, size_t size)
{
	for (size_t at = 0; at < size;) {
		const char *end = memchr(text + at, '\n', size - at);
		size_t line = end ? (size_t)(end - text) - at : size - at;

		if (line_apply(use, text + at, line) < 0)
			return -EINVAL;
		at += line + 1;
	}
	return 0;
}

static void stamp_of(const struct stat *st, struct settings_stamp *ret)
{
	*ret = (struct settings_stamp){st->st_mtim, st->st_ino, st->st_size};
}

static int file_read(struct settings *fresh, const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) char *text = malloc(FILE_SIZE_MAX + 1);
	struct stat st;
	ssize_t size;

	if (fd < 0 || !text || fstat(fd, &st) < 0)
		return -errno;
	stamp_of(&st, &fresh->stamp);
	size = read(fd, text, FILE_SIZE_MAX + 1);
	if (size < 0 || size > (ssize_t)FILE_SIZE_MAX)
		return -EINVAL;
	return file_apply(&fresh->use, text, (size_t)size);
}

static enum mqp_code choose_value(char *to, size_t size, const char *configured,
				  const char *environment, const char *fallback)
{
	const char *text = configured;

	if (!text && to[0])
		return MQP_OK;
	if (!text)
		text = secure_getenv(environment);
	if (!text || !text[0])
		text = configured ? configured : fallback;
	if (!text || !text[0])
		return MQP_BAD_CREDENTIALS;
	return value_set(to, size, text, strlen(text)) < 0 ? MQP_INVALID_ARGUMENT : MQP_OK;
}

// Fills key, secret and addresses of `fresh`, whose config is set.
static enum mqp_code credentials_read(struct settings *fresh)
{
	const struct mqp_client_config *config = &fresh->config;
	struct credentials *use = &fresh->use;
	enum mqp_code code;

	memset(use, 0, sizeof *use);
	if (config->credentials_file && file_read(fresh, config->credentials_file) < 0)
		return MQP_BAD_CREDENTIALS;
	code = choose_value(use->access_key, sizeof use->access_key, config->access_key,
			    "MQPAAS_ACCESS_KEY", NULL);
	if (code == MQP_OK)
		code = choose_value(use->secret, sizeof use->secret, config->secret,
				    "MQPAAS_SECRET", NULL);
	if (code == MQP_OK)
		code = choose_value(use->addresses, sizeof use->addresses, config->addresses,
				    "MQPAAS_ADDRESS", ADDRESS_DEFAULT);
	// Keys that are there leave only an empty address.
	return code == MQP_BAD_CREDENTIALS && use->secret[0] ? MQP_INVALID_ARGUMENT : code;
}

static enum mqp_code config_check(struct mqp_client_config *config)
{
	if ((unsigned)config->io > MQP_IO_APP || (unsigned)config->log_level > MQP_LOG_ERROR ||
	    config->connect_timeout_ms > CONNECT_MAX_MS)
		return MQP_INVALID_ARGUMENT;
	if (config->client_id && strlen(config->client_id) > 128)
		return MQP_INVALID_ARGUMENT;
	if (config->connect_timeout_ms == 0)
		config->connect_timeout_ms = CONNECT_DEFAULT_MS;
	return MQP_OK;
}

enum mqp_code settings_init(struct settings *settings, const struct mqp_client_config *config)
{
	struct addresses addresses;
	enum mqp_code code;

	memset(settings, 0, sizeof *settings);
	mqp_client_config_init(&settings->config, sizeof settings->config);
	if (config) {
		if (config->size < sizeof config->size || config->size > sizeof *config)
			return MQP_INVALID_ARGUMENT;
		memcpy(&settings->config, config, config->size);
	}
	code = config_check(&settings->config);
	if (code == MQP_OK)
		code = credentials_read(settings);
	if (code == MQP_OK && addresses_configure(&addresses, settings->use.addresses) < 0)
		code = MQP_INVALID_ARGUMENT;
	if (code == MQP_OK)
		code = texts_copy(settings);
	if (code != MQP_OK) {
		settings_deinit(settings);
		return code;
	}
	// What was given by arguments stays as it is at a reload: the copies are the values.
	settings->config.access_key = settings->config.access_key ? settings->use.access_key : NULL;
	settings->config.secret = settings->config.secret ? settings->use.secret : NULL;
	settings->config.addresses = settings->config.addresses ? settings->use.addresses : NULL;
	return MQP_OK;
}

void settings_deinit(struct settings *settings)
{
	for (unsigned i = 0; i < settings->text_count; ++i)
		free(settings->texts[i]);
	explicit_bzero(settings, sizeof *settings);
}

bool settings_file_changed(const struct settings *settings)
{
	struct settings_stamp now;
	struct stat st;

	if (!settings->config.credentials_file || stat(settings->config.credentials_file, &st) < 0)
		return false;
	stamp_of(&st, &now);
	return now.inode != settings->stamp.inode || now.size != settings->stamp.size ||
	       now.changed.tv_sec != settings->stamp.changed.tv_sec ||
	       now.changed.tv_nsec != settings->stamp.changed.tv_nsec;
}

// Works on a copy, so a file that is wrong changes nothing but the stamp. The copy holds secrets
// and is overwritten.
enum mqp_code settings_reload(struct settings *settings, struct credentials *ret_fresh)
{
	struct settings fresh = *settings;
	struct addresses addresses;
	enum mqp_code code = credentials_read(&fresh);

	if (code == MQP_OK && addresses_configure(&addresses, fresh.use.addresses) < 0)
		code = MQP_INVALID_ARGUMENT;
	// A file that cannot be used is looked at again when it changes, not before.
	settings->stamp = fresh.stamp;
	if (code == MQP_OK)
		*ret_fresh = fresh.use;
	explicit_bzero(&fresh, sizeof fresh);
	return code;
}

bool settings_credentials_same(const struct credentials *a, const struct credentials *b)
{
	return strcmp(a->access_key, b->access_key) == 0 && strcmp(a->secret, b->secret) == 0 &&
	       strcmp(a->addresses, b->addresses) == 0;
}
