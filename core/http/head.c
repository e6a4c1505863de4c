// Parses the head of a request.
//
// The idea: whatever two programs could read differently is refused, so nothing can be smuggled
// past a proxy in front. One Host; at most one Content-Length of plain digits; no
// Transfer-Encoding; lines end in CRLF; no folded lines; no space before the colon; no control
// characters; percent-escapes of the path and query decode to valid UTF-8.
//
// Invariant: everything is done in place: the parts of a head are zero-terminated texts inside the
// caller's buffer, which must outlive it. Deliberately absent: chunked bodies, pipelining,
// trailers, upgrades.

#include "core/http/head.h"

#include "core/base/util.h"

#include <stdlib.h>
#include <utf8proc.h>

// Characters of RFC 9110's "token": methods and field names.
static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text)
{
	if (!*text)
		return false;
	for (; *text; ++text) {
		if (!is_token_char((unsigned char)*text))
			return false;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_clean_utf8(const char *text, size_t size)
{
	utf8proc_int32_t point;

	for (size_t at = 0; at < size;) {
		utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
							 (utf8proc_ssize_t)(size - at), &point);
		if (step <= 0 || point < 0x20 || (point >= 0x7f && point <= 0x9f))
			return false;
		at += (size_t)step;
	}
	return true;
}

// Replaces escapes, in place. `plus` is the query's other way to write a space.
static bool decode_escapes(char *text, bool plus)
{
	char *to = text, *start = text;

	for (const char *from = text; *from; ++from) {
		if (*from == '%') {
			int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
			if (low < 0)
				return false;
			*to++ = (char)(high << 4 | low);
			from += 2;
		} else {
			*to++ = plus && *from == '+' ? ' ' : *from;
		}
	}
	*to = '\0';
	return is_clean_utf8(start, (size_t)(to - start));
}

static const char *parse_query(char *query, struct head *head)
{
	char *rest = query, *pair;

	while ((pair = strsep(&rest, "&"))) {
		struct head_field *field = &head->query[head->query_count];
		char *value = pair;

		if (!*pair)
			continue;
		if (head->query_count == HEAD_MAX_QUERY)
			return "at most 16 query parameters are taken";
		field->name = strsep(&value, "=");
		field->value = value ? value : pair + strlen(pair);
		if (!decode_escapes(pair, true) || (value && !decode_escapes(value, true)))
			return "a query parameter is not percent-encoded UTF-8 without control "
			       "characters";
		for (size_t i = 0; i < head->query_count; ++i) {
			if (strcmp(head->query[i].name, field->name) == 0)
				return "a query parameter is given twice";
		}
		head->query_count += 1;
	}
	return NULL;
}

static const char *parse_path(char *path, struct head *head)
{
	char *rest = path + 1, *segment;

	while ((segment = strsep(&rest, "/"))) {
		if (!*segment && !rest) {
			head->trailing_slash = head->segment_count > 0;
			break;
		}
		if (head->segment_count == HEAD_MAX_SEGMENTS)
			return "the path has too many parts";
		if (!*segment || !decode_escapes(segment, false))
			return "a part of the path is empty or not percent-encoded UTF-8 without "
			       "control characters";
		if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
			return "the path has a part '.' or '..'";
		head->segments[head->segment_count++] = segment;
	}
	return NULL;
}

static const char *parse_target(char *target, struct head *head)
{
	char *path = target, *query;

	if (strcmp(target, "*") == 0) {
		head->asterisk = strcmp(head->method, "OPTIONS") == 0;
		return head->asterisk ? NULL : "'*' is a target for OPTIONS only";
	}
	if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
		path = strstr(target, "//") + 2;
		path += strcspn(path, "/?");
	}
	if (*path != '/')
		return "the target is not a path that begins with '/'";
	for (const char *c = path; *c; ++c) {
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#')
			return "the target has characters that must be percent-encoded";
	}
	query = strchr(path, '?');
	if (query) {
		*query = '\0';
		const char *why = parse_query(query + 1, head);
		if (why)
			return why;
	}
	return parse_path(path, head);
}

static int parse_request_line(char *line, struct head *head, const char **why)
{
	char *rest = line, *target;

	head->method = strsep(&rest, " ");
	target = strsep(&rest, " ");
	*why = "the request line is not 'METHOD target HTTP/1.1'";
	if (!target || !rest || !is_token(head->method))
		return 400;
	if (strncmp(rest, "HTTP/", 5) != 0 || rest[5] < '0' || rest[5] > '9' || rest[6] != '.' ||
	    rest[7] < '0' || rest[7] > '9' || rest[8])
		return 400;
	if (strcmp(rest, "HTTP/1.1") != 0 && strcmp(rest, "HTTP/1.0") != 0) {
		*why = "HTTP/1.1 is spoken here";
		return 505;
	}
	*why = parse_target(target, head);
	return *why ? 400 : 0;
}

static const char *parse_field(char *line, struct head *head)
{
	struct head_field *field = &head->fields[head->field_count];
	char *value = strchr(line, ':');
	size_t size;

	if (head->field_count == HEAD_MAX_FIELDS)
		return "at most 64 header fields are taken";
	if (!value)
		return "a header field has no colon";
	*value++ = '\0';
	if (!is_token(line))
		return "the name of a header field has characters that are not allowed";
	for (char *c = line; *c; ++c) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	}
	value += strspn(value, " \t");
	size = strlen(value);
	while (size && (value[size - 1] == ' ' || value[size - 1] == '\t'))
		value[--size] = '\0';
	field->name = line;
	field->value = value;
	head->field_count += 1;
	return NULL;
}

static size_t count_fields(const struct head *head, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < head->field_count; ++i)
		count += strcmp(head->fields[i].name, name) == 0;
	return count;
}

static bool is_host(const char *host)
{
	size_t size = strlen(host);

	return size > 0 && size <= 255 &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    ".-_:[]") == size;
}

static int check_fields(struct head *head, const char **why)
{
	const char *length = head_field(head, "content-length");
	const char *expect = head_field(head, "expect");

	*why = "exactly one Host is required";
	if (count_fields(head, "host") != 1 || !is_host(head_field(head, "host")))
		return 400;
	*why = "Transfer-Encoding is not taken; send Content-Length";
	if (head_field(head, "transfer-encoding"))
		return 400;
	*why = "a header field that may stand once is given twice";
	if (count_fields(head, "authorization") > 1 || count_fields(head, "content-type") > 1 ||
	    count_fields(head, "if-match") > 1 || count_fields(head, "content-encoding") > 1)
		return 400;
	*why = "at most one Content-Length is taken, in plain digits";
	if (length) {
		if (count_fields(head, "content-length") != 1 || !*length || strlen(length) > 15 ||
		    strspn(length, "0123456789") != strlen(length))
			return 400;
		head->content_length = strtoull(length, NULL, 10);
		head->has_content_length = true;
	}
	*why = "only 'Expect: 100-continue' is understood";
	if (expect && strcasecmp(expect, "100-continue") != 0)
		return 417;
	head->expect_continue = expect && head->content_length > 0;
	return 0;
}

size_t head_end(const char *data, size_t size)
{
	const char *end = memmem(data, size, "\r\n\r\n", 4);

	return end ? (size_t)(end - data) + 4 : 0;
}

// Every byte is checked here once; afterwards lines are C strings.
static const char *check_bytes(const char *data, size_t size)
{
	for (size_t i = 0; i < size; ++i) {
		unsigned char c = (unsigned char)data[i];
		if (c == '\r' && i + 1 < size && data[i + 1] == '\n')
			++i;
		else if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "the head has a control character, or a line that does not end in "
			       "CRLF";
	}
	return NULL;
}

int head_parse(char *data, size_t size, struct head *ret, const char **ret_why)
{
	char *line = data, *end = data + size - 2; // the empty line's CRLF stays behind
	int status;

	memset(ret, 0, sizeof *ret);
	*ret_why = check_bytes(data, size);
	if (*ret_why)
		return 400;
	for (bool first = true; line < end; first = false) {
		char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);

		*stop = '\0';
		if (first) {
			status = parse_request_line(line, ret, ret_why);
			if (status)
				return status;
		} else {
			*ret_why = parse_field(line, ret);
			if (*ret_why)
				return 400;
		}
		line = stop + 2;
	}
	return check_fields(ret, ret_why);
}

const char *head_field(const struct head *head, const char *name)
{
	for (size_t i = 0; i < head->field_count; ++i) {
		if (strcmp(head->fields[i].name, name) == 0)
			return head->fields[i].value;
	}
	return NULL;
}
