// GET requests over libcurl, one at a time, on one handle that keeps its connection.
//
// Base URLs are tried in turn, beginning with the one that answered last. What an answer may weigh,
// and how long it may take, is bounded; redirects are not followed, because they would carry the
// password elsewhere. A refusal (401, 404) is an answer: the next address would say the same.

#include "adapters/rabbitmq/manage/http.h"

#include "core/base/util.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>

#define ANSWER_MAX (4u << 20)
#define CONNECT_MS 2000L
#define ANSWER_MS  5000L
#define BASES      16u

struct rabbitmq_http {
	CURL *curl;
	const bool *leaving;
	char *bases[BASES];
	size_t base_count, at; // the one that answered last
	char *data;
	size_t size, room;
	bool too_large;
	char curl_error[CURL_ERROR_SIZE];
};

// ---- libcurl's callbacks

static size_t on_data(char *data, size_t one, size_t count, void *ctx)
{
	struct rabbitmq_http *http = ctx;
	size_t size = one * count;

	if (size > ANSWER_MAX - http->size) {
		http->too_large = true;
		return 0;
	}
	if (http->size + size > http->room) {
		size_t room = MAX(2 * http->room, http->size + size);
		char *grown = realloc(http->data, room);

		if (!grown)
			return 0;
		http->data = grown;
		http->room = room;
	}
	memcpy(http->data + http->size, data, size);
	http->size += size;
	return size;
}

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	const struct rabbitmq_http *http = ctx;

	return __atomic_load_n(http->leaving, __ATOMIC_ACQUIRE);
}

// ---- begin and end

static bool blob_set(CURL *curl, CURLoption option, char *pem)
{
	struct curl_blob blob = {
		.data = pem, .len = pem ? strlen(pem) : 0, .flags = CURL_BLOB_COPY};

	return !pem || curl_easy_setopt(curl, option, &blob) == CURLE_OK;
}

static bool handle_set(struct rabbitmq_http *http, const struct rabbitmq_options *options)
{
	CURL *curl = http->curl;
	const char *user = options->management_user ? options->management_user : options->user;
	const char *password =
		options->management_password ? options->management_password : options->password;

	return curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_USERNAME, user ? user : "") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PASSWORD, password ? password : "") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->curl_error) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEDATA, http) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http) == CURLE_OK &&
	       blob_set(curl, CURLOPT_CAINFO_BLOB, options->ca_pem) &&
	       blob_set(curl, CURLOPT_SSLCERT_BLOB, options->certificate_pem) &&
	       blob_set(curl, CURLOPT_SSLKEY_BLOB, options->key_pem);
}

// "a, b/" as "a" and "b".
static int bases_read(struct rabbitmq_http *http, const char *list)
{
	while (*list && http->base_count < BASES) {
		size_t size;

		list += strspn(list, ", ");
		size = strcspn(list, ", ");
		if (size) {
			char *base = strndup(list, size);

			if (!base)
				return -ENOMEM;
			while (size && base[size - 1] == '/')
				base[--size] = '\0';
			http->bases[http->base_count++] = base;
		}
		list += strcspn(list, ", ");
	}
	return http->base_count ? 0 : -EINVAL;
}

int rabbitmq_http_new(const struct rabbitmq_options *options, const bool *leaving,
		      struct rabbitmq_http **ret)
{
	struct rabbitmq_http *http = calloc(1, sizeof *http);
	int r = http ? bases_read(http, options->management) : -ENOMEM;

	if (r == 0) {
		http->leaving = leaving;
		http->curl = curl_easy_init();
		if (!http->curl || !handle_set(http, options))
			r = -ENOMEM;
	}
	if (r < 0)
		rabbitmq_http_free(http);
	else
		*ret = http;
	return r;
}

void rabbitmq_http_free(struct rabbitmq_http *http)
{
	if (!http)
		return;
	curl_easy_cleanup(http->curl);
	for (size_t i = 0; i < http->base_count; ++i)
		free(http->bases[i]);
	free(http->data);
	free(http);
}

// ---- asking

// A base URL without what may be a password in it.
static const char *base_shown(const char *base)
{
	const char *at = strrchr(base, '@');

	return at ? at + 1 : base;
}

static const char *refusal(long status)
{
	switch (status) {
	case 401:
	case 403: return "user or password are not accepted, or the user may not do this";
	case 404: return "there is no such thing: the vhost, or the management plugin, is missing";
	}
	return "it refused";
}

static void error_write(struct rabbitmq_http *http, const char *path, CURLcode failed, long status,
			char error[RABBITMQ_HTTP_ERROR])
{
	const char *base = base_shown(http->bases[http->at]);
	int path_size = (int)strcspn(path, "?");

	if (http->too_large)
		snprintf(error, RABBITMQ_HTTP_ERROR,
			 "management API %s%.*s: the answer has more than %u bytes", base,
			 path_size, path, ANSWER_MAX);
	else if (failed)
		snprintf(error, RABBITMQ_HTTP_ERROR, "management API %s: %s", base,
			 *http->curl_error ? http->curl_error : curl_easy_strerror(failed));
	else
		snprintf(error, RABBITMQ_HTTP_ERROR, "management API %s%.*s: status %ld: %s", base,
			 path_size, path, status, refusal(status));
}

// 0 or -EIO; -EAGAIN: another address may answer.
static int get_from(struct rabbitmq_http *http, const char *path, long *ret_status,
		    char error[RABBITMQ_HTTP_ERROR])
{
	char *url = NULL;
	CURLcode failed;

	*ret_status = 0;
	http->size = 0;
	http->too_large = false;
	*http->curl_error = '\0';
	if (asprintf(&url, "%s%s", http->bases[http->at], path) < 0)
		return -EIO;
	failed = curl_easy_setopt(http->curl, CURLOPT_URL, url);
	if (!failed)
		failed = curl_easy_perform(http->curl);
	if (!failed)
		curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, ret_status);
	free(url);
	if (!failed && *ret_status == 200)
		return 0;
	error_write(http, path, failed, *ret_status, error);
	return (failed && !http->too_large) || *ret_status >= 500 ? -EAGAIN : -EIO;
}

int rabbitmq_http_get(struct rabbitmq_http *http, const char *path, const char **ret_data,
		      size_t *ret_size, long *ret_status, char error[RABBITMQ_HTTP_ERROR])
{
	int r = -EAGAIN;

	snprintf(error, RABBITMQ_HTTP_ERROR, "the cluster is being closed");
	for (size_t i = 0; i < http->base_count && r == -EAGAIN; ++i) {
		if (__atomic_load_n(http->leaving, __ATOMIC_ACQUIRE))
			break;
		r = get_from(http, path, ret_status, error);
		if (r == -EAGAIN)
			http->at = (http->at + 1) % http->base_count;
	}
	*ret_data = http->data;
	*ret_size = http->size;
	return r == 0 ? 0 : -EIO;
}

char *rabbitmq_http_path(struct rabbitmq_http *http, const char *before, const char *vhost,
			 const char *behind)
{
	char *escaped = curl_easy_escape(http->curl, vhost, 0), *path = NULL;

	if (escaped && asprintf(&path, "%s%s%s", before, escaped, behind) < 0)
		path = NULL;
	curl_free(escaped);
	return path;
}
