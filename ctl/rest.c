// Calls the portal with libcurl, one connection a call (the portal serves one request a
// connection).
//
// Invariants: an answer has at most REST_ANSWER_MAX bytes and arrives within REST_TIMEOUT_S;
// redirects are not followed, so the token is sent to one server only. It retries nothing.

#include "ctl/rest.h"

#include "core/base/util.h"
#include "ctl/output.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

#define REST_ANSWER_MAX (64u << 20)
#define REST_TIMEOUT_S  60L

struct text {
	char *data;
	size_t size;
};

static size_t text_append(char *data, size_t size, size_t count, void *ctx)
{
	struct text *text = ctx;
	size_t more = size * count;
	char *grown;

	if (text->size + more > REST_ANSWER_MAX)
		return 0;
	grown = realloc(text->data, text->size + more + 1);
	if (!grown)
		return 0;
	memcpy(grown + text->size, data, more);
	text->data = grown;
	text->size += more;
	text->data[text->size] = '\0';
	return more;
}

static size_t header_line(char *data, size_t size, size_t count, void *ctx)
{
	static const char name[] = "etag:";
	struct rest_answer *answer = ctx;
	size_t length = size * count;

	if (length > sizeof name && strncasecmp(data, name, sizeof name - 1) == 0) {
		const char *from = data + sizeof name - 1, *to = data + length;

		while (from < to && *from == ' ')
			++from;
		while (to > from && (to[-1] == '\r' || to[-1] == '\n'))
			--to;
		free(answer->etag);
		answer->etag = strndup(from, (size_t)(to - from));
	}
	return length;
}

static struct curl_slist *header_add(struct curl_slist *list, const char *name, const char *value)
{
	_cleanup_(freep) char *line = NULL;

	return value && asprintf(&line, "%s: %s", name, value) >= 0 ? curl_slist_append(list, line)
								    : list;
}

static struct curl_slist *headers_make(const struct context *context, bool has_body,
				       const char *if_match)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	_cleanup_(freep) char *bearer = NULL;

	list = header_add(list, "Accept", "application/json, application/problem+json");
	list = header_add(list, "Content-Type", has_body ? "application/json" : NULL);
	list = header_add(list, "If-Match", if_match);
	if (context->token && asprintf(&bearer, "Bearer %s", context->token) >= 0)
		list = header_add(list, "Authorization", bearer);
	return list;
}

int rest_call(const struct context *context, const char *method, const char *path,
	      const json_t *body, const char *if_match, struct rest_answer *ret)
{
	_cleanup_(freep) char *url = NULL, *sent = NULL;
	struct rest_answer answer = {0};
	struct text text = {0};
	struct curl_slist *headers;
	char reason[CURL_ERROR_SIZE] = "";
	CURL *curl;
	CURLcode r;

	if (!context->url)
		return ctl_fail(CTL_USAGE,
				"no portal is named: give --url, set MQPAAS_URL, or make a context "
				"(mqpaasctl context set NAME --url http://127.0.0.1:7080)");
	if (asprintf(&url, "%s%s", context->url, path) < 0)
		return ctl_fail(CTL_FAILED, "out of memory");
	sent = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	headers = headers_make(context, body, if_match);
	curl = curl_easy_init();
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, REST_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, text_append);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, header_line);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
	if (context->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, context->ca_file);
	if (sent) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sent);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(sent));
	}
	r = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (r != CURLE_OK) {
		free(text.data);
		rest_answer_deinit(&answer);
		return ctl_fail(CTL_DOWN, "%s %s: %s", method, url,
				reason[0] ? reason : curl_easy_strerror(r));
	}
	answer.body = text.size ? json_loadb(text.data, text.size, JSON_DECODE_ANY, NULL) : NULL;
	if (answer.body)
		free(text.data);
	else
		answer.text = text.data;
	*ret = answer;
	return 0;
}

void rest_answer_deinit(struct rest_answer *answer)
{
	json_decref(answer->body);
	free(answer->text);
	free(answer->etag);
	*answer = (struct rest_answer){0};
}

static const char *text_member(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

int rest_fail(const struct rest_answer *answer)
{
	const char *code = text_member(answer->body, "code"),
		   *detail = text_member(answer->body, "detail");
	const json_t *errors = json_object_get(answer->body, "errors"), *error;
	size_t i;

	if (!detail)
		detail = text_member(answer->body, "title");
	ctl_fail(CTL_FAILED, "%s (HTTP %ld): %s", code ? code : "refused", answer->status,
		 detail         ? detail
		 : answer->text ? answer->text
				: "the server gave no reason");
	json_array_foreach(errors, i, error)
	{
		const char *field = text_member(error, "field"),
			   *problem = text_member(error, "detail");

		fputs("  ", stderr);
		output_visible(stderr, field ? field : "?");
		fputs(": ", stderr);
		output_visible(stderr, problem ? problem : "not accepted");
		fputc('\n', stderr);
	}
	return answer->status == 404 ? CTL_MISSING : CTL_FAILED;
}

char *rest_escape(const char *text)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	char *escaped = malloc(3 * strlen(text) + 1), *to = escaped;

	if (!escaped)
		return NULL;
	for (const char *from = text; *from; ++from) {
		if (strchr(plain, *from))
			*to++ = *from;
		else
			to += sprintf(to, "%%%02X", (unsigned char)*from);
	}
	*to = '\0';
	return escaped;
}
