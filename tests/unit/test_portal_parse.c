// The parts of the portal that read what strangers send: heads, bodies, rules, routes; and the two
// engines with virtual time, series and throttle.

#include "core/base/util.h"
#include "core/http/head.h"
#include "portal-api/body.h"
#include "portal-api/body_rule.h"
#include "portal-api/forwarded.h"
#include "portal-api/route.h"
#include "portal-api/series.h"
#include "portal-api/throttle.h"
#include "tests/unit/unit.h"

#include <errno.h>

// ---- heads

static struct head head;
static char head_text[HEAD_MAX_BYTES];

// Parses a head given with its lines; returns the status.
static int parse(const char *text)
{
	const char *why;
	size_t size = strlen(text);

	CHECK(size < sizeof head_text);
	memcpy(head_text, text, size);
	CHECK_EQ(head_end(head_text, size), size);
	return head_parse(head_text, size, &head, &why);
}

#define GET(target, fields) parse("GET " target " HTTP/1.1\r\nHost: a\r\n" fields "\r\n")

static void test_head_plain(void)
{
	CHECK_EQ(parse("PUT /a/b%2Fc/%E2%82%AC?x=1&y=a+b%20c&z HTTP/1.1\r\nHost: h:80\r\n"
		       "X-Thing:  v w \t\r\nContent-Length: 12\r\n\r\n"),
		 0);
	CHECK_STR(head.method, "PUT");
	CHECK_EQ(head.segment_count, 3);
	CHECK_STR(head.segments[1], "b/c");
	CHECK_STR(head.segments[2], "\xe2\x82\xac");
	CHECK_EQ(head.query_count, 3);
	CHECK_STR(head.query[1].value, "a b c");
	CHECK_STR(head.query[2].value, "");
	CHECK_STR(head_field(&head, "x-thing"), "v w");
	CHECK_EQ(head.content_length, 12);
	CHECK(!head_field(&head, "x-other"));
}

static void test_head_forms_of_target(void)
{
	CHECK_EQ(GET("http://example.org/x?y=1", ""), 0);
	CHECK_EQ(head.segment_count, 1);
	CHECK_EQ(GET("/", ""), 0);
	CHECK_EQ(head.segment_count, 0);
	CHECK(!head.trailing_slash);
	CHECK_EQ(GET("/a/", ""), 0);
	CHECK(head.trailing_slash);
	CHECK_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
	CHECK(head.asterisk);
	CHECK_EQ(GET("*", ""), 400);
	CHECK_EQ(GET("a", ""), 400);
	CHECK_EQ(GET("/a//b", ""), 400);
	CHECK_EQ(GET("/a/../b", ""), 400);
	CHECK_EQ(GET("/a/%2e%2E/b", ""), 400);
	CHECK_EQ(GET("/a%", ""), 400);
	CHECK_EQ(GET("/a%0", ""), 400);
	CHECK_EQ(GET("/a%00b", ""), 400);
	CHECK_EQ(GET("/%c3%28", ""), 400);
	CHECK_EQ(GET("/\xc3\xa9", ""), 400);
	CHECK_EQ(GET("/a#b", ""), 400);
	CHECK_EQ(GET("/a?x=1&x=2", ""), 400);
	CHECK_EQ(GET("/a?x=%1", ""), 400);
	CHECK_EQ(GET("/1/2/3/4/5/6/7/8/9/10/11/12/13", ""), 400);
}

static void test_head_refuses_smuggling(void)
{
	CHECK_EQ(GET("/", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400);
	CHECK_EQ(GET("/", "Content-Length: +1\r\n"), 400);
	CHECK_EQ(GET("/", "Content-Length: -1\r\n"), 400);
	CHECK_EQ(GET("/", "Content-Length: 0x10\r\n"), 400);
	CHECK_EQ(GET("/", "Content-Length: 1, 1\r\n"), 400);
	CHECK_EQ(GET("/", "Content-Length:\r\n"), 400);
	CHECK_EQ(GET("/", "Content-Length: 99999999999999999999\r\n"), 400);
	CHECK_EQ(GET("/", "Transfer-Encoding: chunked\r\n"), 400);
	CHECK_EQ(GET("/", "Transfer-Encoding: identity\r\nContent-Length: 1\r\n"), 400);
	CHECK_EQ(GET("/", "Transfer-Encoding : chunked\r\n"), 400);
	CHECK_EQ(GET("/", "X: a\r\n b\r\n"), 400);
	CHECK_EQ(GET("/", "X: a\n\tb\r\n"), 400);
	CHECK_EQ(GET("/", "X: a\rb\r\n"), 400);
	CHECK_EQ(GET("/", "no colon\r\n"), 400);
	CHECK_EQ(GET("/", ": empty\r\n"), 400);
	CHECK_EQ(GET("/", "Host: b\r\n"), 400);
	CHECK_EQ(GET("/", "Authorization: a\r\nAuthorization: b\r\n"), 400);
	CHECK_EQ(parse("GET / HTTP/1.1\r\n\r\n"), 400);
	CHECK_EQ(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400);
	CHECK_EQ(parse("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
	CHECK_EQ(parse("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
	CHECK_EQ(parse("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400);
	CHECK_EQ(parse("GET /\r\nHost: a\r\n\r\n"), 400);
	CHECK_EQ(parse("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
	CHECK_EQ(parse("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
	CHECK_EQ(parse("GET / HTTP/11\r\nHost: a\r\n\r\n"), 400);
	CHECK_EQ(GET("/", "Expect: 200-ok\r\n"), 417);
	CHECK_EQ(parse("\r\n\r\n"), 400);
}

static void test_head_bytes(void)
{
	char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n";
	const char *why;

	CHECK_EQ(head_parse(text, sizeof text - 1, &head, &why), 400);
	CHECK_EQ(head_end("GET / HTTP/1.1\n\n", 16), 0);
	CHECK_EQ(head_end("a\r\n\r\nrest", 9), 5);
}

static void test_head_counts(void)
{
	char text[HEAD_MAX_BYTES] = "GET / HTTP/1.1\r\nHost: a\r\n";
	const char *why;

	for (int i = 0; i < HEAD_MAX_FIELDS; ++i)
		strcat(text, "X: y\r\n");
	strcat(text, "\r\n");
	CHECK_EQ(head_parse(text, strlen(text), &head, &why), 400);
}

// ---- bodies

static int read_body(const char *text, size_t size)
{
	json_t *body = NULL;
	char why[BODY_WHY_SIZE];
	int r = body_parse(text, size, &body_limits_default, &body, why);

	CHECK((r == 0) == (body != NULL));
	json_decref(body);
	return r;
}

static int body_of(const char *text)
{
	return read_body(text, strlen(text));
}

static void test_body_grammar(void)
{
	CHECK_EQ(body_of("{}"), 0);
	CHECK_EQ(body_of(" {\"a\": [1, -2.5e3, true, null, \"\\u00e9\\\"\\\\\"]} "), 0);
	CHECK_EQ(body_of(""), -EINVAL);
	CHECK_EQ(body_of("[]"), -EINVAL);
	CHECK_EQ(body_of("1"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":1,\"a\":2}"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":1}}"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":1]"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":\"b}"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":\"b\\"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":\"\xff\"}"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":\"\\u0000\"}"), -EINVAL);
	CHECK_EQ(body_of("{'a':1}"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":1,}"), -EINVAL);
	CHECK_EQ(body_of("{\"a\":NaN}"), -EINVAL);
	CHECK_EQ(body_of("{} {}"), -EINVAL);
	CHECK_EQ(read_body("{}\0", 3), -EINVAL);
}

// Brackets in a member, `depth` deep together with the object.
static int nested(unsigned depth)
{
	char text[400] = "{\"a\":";

	for (unsigned i = 1; i < depth; ++i)
		strcat(text, "[");
	strcat(text, "1");
	for (unsigned i = 1; i < depth; ++i)
		strcat(text, "]");
	strcat(text, "}");
	return body_of(text);
}

static void test_body_limits(void)
{
	enum { MANY = 9000 };
	static char text[MANY * 2 + 100] = "{\"a\":[0";

	CHECK_EQ(nested(16), 0);
	CHECK_EQ(nested(17), -E2BIG);
	CHECK_EQ(nested(100), -E2BIG);
	for (size_t at = strlen(text); at < MANY * 2; at += 2)
		memcpy(text + at, ",0", 2);
	strcat(text, "]}");
	CHECK_EQ(body_of(text), -E2BIG);
}

// ---- rules

static const char *const colours[] = {"red", "green", NULL};
static const struct body_rule inner_rules[] = {
	{.name = "n", .type = BODY_RULE_INTEGER, .flags = BODY_RULE_REQUIRED, .min = 0, .max = 9},
	{0}};
static const struct body_rule rules[] = {
	{.name = "text", .type = BODY_RULE_TEXT, .flags = BODY_RULE_REQUIRED, .min = 2, .max = 4},
	{.name = "flag", .type = BODY_RULE_BOOLEAN},
	{.name = "colour", .type = BODY_RULE_ENUM, .flags = BODY_RULE_NULL, .values = colours},
	{.name = "inner", .type = BODY_RULE_OBJECT, .rules = inner_rules},
	{.name = "list", .type = BODY_RULE_ARRAY, .min = 1, .max = 2, .rules = inner_rules},
	{0}};

// The fields that are wrong, joined by a space.
static const char *faults_of(const char *text)
{
	static char out[400];
	json_t *object = json_loads(text, 0, NULL), *errors = json_array(), *error;
	size_t index;
	bool fine;

	CHECK(object);
	fine = body_rule_check(rules, object, errors);
	CHECK_EQ(fine, json_array_size(errors) == 0);
	out[0] = '\0';
	json_array_foreach(errors, index, error)
	{
		strcat(out, index ? " " : "");
		strcat(out, json_string_value(json_object_get(error, "field")));
		CHECK(json_string_length(json_object_get(error, "detail")) > 0);
	}
	json_decref(object);
	json_decref(errors);
	return out;
}

static void test_rules(void)
{
	CHECK_STR(faults_of("{\"text\":\"ab\"}"), "");
	CHECK_STR(
		faults_of(
			"{\"text\":\"\\u00e9\\u00e9\\u00e9\\u00e9\",\"flag\":true,\"colour\":null,"
			"\"inner\":{\"n\":9.0},\"list\":[{\"n\":0}]}"),
		"");
	CHECK_STR(faults_of("{}"), "/text");
	CHECK_STR(faults_of("{\"text\":\"a\"}"), "/text");
	CHECK_STR(faults_of("{\"text\":\"abcde\"}"), "/text");
	CHECK_STR(faults_of("{\"text\":\"a\\u0085\"}"), "/text");
	CHECK_STR(faults_of("{\"text\":\"a\\nb\"}"), "/text");
	CHECK_STR(faults_of("{\"text\":1,\"flag\":0,\"colour\":\"blue\",\"inner\":[],\"list\":{}}"),
		  "/text /flag /colour /inner /list");
	CHECK_STR(faults_of("{\"text\":\"ab\",\"list\":[{\"n\":10},{\"n\":1.5}]}"),
		  "/list/0/n /list/1/n");
	CHECK_STR(faults_of("{\"text\":\"ab\",\"list\":[]}"), "/list");
	CHECK_STR(faults_of("{\"text\":\"ab\",\"inner\":{\"a/b~\":1}}"), "/inner/a~1b~0 /inner/n");
}

// ---- routes

static const struct route table[] = {
	{.method = "GET", .path = "/v1/things"},
	{.method = "POST", .path = "/v1/things"},
	{.method = "GET", .path = "/v1/things/{thing}"},
	{.method = "POST", .path = "/v1/things/all"},
	{.method = "GET", .path = "/v1/tenants/{tenant}/parts/{part}"},
};

static const struct route *found(const char *method, const char *target, enum route_outcome want,
				 struct route_match *match)
{
	char text[300];

	snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", method, target);
	CHECK_EQ(parse(text), 0);
	*match = (struct route_match){0};
	CHECK_EQ(route_find(table, ARRAY_SIZE(table), &head, match), want);
	return match->route;
}

static void test_routes(void)
{
	struct route_match match;
	char allow[100];

	CHECK(found("GET", "/v1/things", ROUTE_FOUND, &match) == &table[0]);
	CHECK(found("HEAD", "/v1/things", ROUTE_FOUND, &match) == &table[0]);
	CHECK(found("POST", "/v1/things", ROUTE_FOUND, &match) == &table[1]);
	CHECK(found("GET", "/v1/things/x%2Fy", ROUTE_FOUND, &match) == &table[2]);
	CHECK_STR(match.params[0], "x/y");
	CHECK(!match.in_tenant);
	CHECK(found("GET", "/v1/tenants/t/parts/p", ROUTE_FOUND, &match) == &table[4]);
	CHECK(match.in_tenant);
	CHECK_STR(match.params[1], "p");
	CHECK(found("POST", "/v1/things/all", ROUTE_FOUND, &match) == &table[3]);
	CHECK(found("GET", "/v1/things/all", ROUTE_NO_METHOD, &match) == &table[3]);
	CHECK(found("PATCH", "/v1/things", ROUTE_NO_METHOD, &match) != NULL);
	found("GET", "/v1", ROUTE_NO_PATH, &match);
	found("GET", "/", ROUTE_NO_PATH, &match);
	found("GET", "/v1/things/", ROUTE_NO_PATH, &match);
	found("GET", "/v1/things/x/y", ROUTE_NO_PATH, &match);
	found("GET", "/V1/things", ROUTE_NO_PATH, &match);
	route_methods(table, ARRAY_SIZE(table), "/v1/things", allow, sizeof allow);
	CHECK_STR(allow, "GET, HEAD, POST, OPTIONS");
}

// ---- series

static void take(struct series *series, uint64_t second, long long stored, long long acked)
{
	json_t *counters = json_pack("{s:{s:I}, s:{s:I}}", "produce", "ok", (json_int_t)stored,
				     "consume", "acked", (json_int_t)acked);

	series_take(series, counters);
	series_sample(series, second * S_NS);
	json_decref(counters);
}

static void test_series_rates(void)
{
	struct series series = {0};
	struct series_rate rate;

	series_rate(&series, 10, &rate);
	CHECK(rate.window_s == 0);
	for (uint64_t second = 1; second <= 100; ++second)
		take(&series, second, (long long)second * 100, (long long)second * 7);
	series_rate(&series, 1, &rate);
	CHECK(rate.window_s == 1 && rate.per_s[0] == 100 && rate.per_s[4] == 7);
	series_rate(&series, 10, &rate);
	CHECK(rate.window_s == 10 && rate.per_s[0] == 100);
	series_rate(&series, 60, &rate);
	CHECK(rate.window_s >= 50 && rate.window_s <= 60 && rate.per_s[0] == 100);
	for (uint64_t second = 101; second <= 103; ++second)
		take(&series, second, 10000, 700);
	series_rate(&series, 1, &rate);
	CHECK(rate.per_s[0] == 0);
	series_rate(&series, 10, &rate);
	CHECK(rate.per_s[0] == 70);
}

static void test_series_lives(void)
{
	struct series series = {0}, again = {0};
	json_t *saved;

	take(&series, 1, 500, 0);
	take(&series, 2, 450, 0); // a part of what it counted was deleted
	CHECK_EQ(series_total(&series, SERIES_STORED), 500);
	take(&series, 3, 460, 0);
	CHECK_EQ(series_total(&series, SERIES_STORED), 510);
	series_restart(&series);
	take(&series, 4, 10, 0);
	CHECK_EQ(series_total(&series, SERIES_STORED), 520);
	CHECK(series.dirty);
	saved = series_save(&series);
	series_load(&again, saved);
	json_decref(saved);
	CHECK_EQ(series_total(&again, SERIES_STORED), 520);
	take(&again, 3, 1, 2);
	CHECK_EQ(series_total(&again, SERIES_STORED), 521);
	CHECK_EQ(series_total(&again, SERIES_ACKED), 2);
}

// ---- throttle

static void test_throttle(void)
{
	struct throttle *throttle;
	uint64_t now = 1000 * S_NS;
	uint32_t wait_s;

	CHECK_EQ(throttle_new(1, &throttle), 0);
	for (int i = 0; i < 10; ++i) {
		CHECK(throttle_allows(throttle, "10.0.0.1", now, &wait_s));
		throttle_take(throttle, "10.0.0.1", now);
	}
	CHECK(!throttle_allows(throttle, "10.0.0.1", now, &wait_s));
	CHECK_EQ(wait_s, 6);
	CHECK(throttle_allows(throttle, "10.0.0.2", now, &wait_s));
	CHECK(throttle_allows(throttle, "10.0.0.1", now + 6 * S_NS, &wait_s));
	throttle_take(throttle, "10.0.0.1", now + 6 * S_NS);
	CHECK(!throttle_allows(throttle, "10.0.0.1", now + 7 * S_NS, &wait_s));
	throttle_give_back(throttle, "10.0.0.1");
	CHECK(throttle_allows(throttle, "10.0.0.1", now + 7 * S_NS, &wait_s));
	throttle_take(throttle, "10.0.0.1", now + 7 * S_NS);
	CHECK(!throttle_allows(throttle, "10.0.0.1", now + 7 * S_NS, &wait_s));
	CHECK(throttle_allows(throttle, "10.0.0.1", now + 100 * S_NS, &wait_s));
	for (int i = 0; i < 10; ++i) {
		char address[40];

		snprintf(address, sizeof address, "2001:db8:1:2::%d", i);
		CHECK(throttle_allows(throttle, address, now, &wait_s));
		throttle_take(throttle, address, now);
	}
	CHECK(!throttle_allows(throttle, "2001:db8:1:2:3::4", now, &wait_s)); // the same /64
	CHECK(throttle_allows(throttle, "2001:db8:1:3::4", now, &wait_s));
	throttle_free(throttle);
}

// Enough tries of as many addresses that nothing is left for all together, nor in any row.
static void use_up(struct throttle *throttle, uint64_t now)
{
	for (unsigned i = 0; i < 40000; ++i) {
		char address[40];

		snprintf(address, sizeof address, "%u.%u.%u.%u", 20 + i % 200, i / 200 % 256, i % 7,
			 1 + i / 51200);
		throttle_take(throttle, address, now);
	}
}

static void test_throttle_under_attack(void)
{
	const char console[] = "10.0.0.1", stranger[] = "10.1.0.1";
	struct throttle *throttle;
	uint64_t now = 1000 * S_NS;
	uint32_t wait_s;

	CHECK_EQ(throttle_new(1, &throttle), 0);
	throttle_take(throttle, console, now);
	throttle_give_back(throttle, console);
	throttle_know(throttle, console); // has logged in
	use_up(throttle, now);
	CHECK(!throttle_allows(throttle, stranger, now, &wait_s));
	for (unsigned i = 0; i < 10; ++i) {
		CHECK(throttle_allows(throttle, console, now, &wait_s));
		throttle_take(throttle, console, now);
	}
	CHECK(!throttle_allows(throttle, console, now, &wait_s)); // it guesses, too
	for (unsigned i = 0; i < 20; ++i)
		throttle_give_back(throttle,
				   console); // more than was taken, after a change of rows
	CHECK(throttle_allows(throttle, console, now, &wait_s));
	throttle_free(throttle);
}

// A network that uses up what it has leaves the others theirs.
static void test_throttle_of_a_network(void)
{
	struct throttle *throttle;
	uint64_t now = 1000 * S_NS;
	uint32_t wait_s;
	unsigned passed = 0;

	CHECK_EQ(throttle_new(1, &throttle), 0);
	for (unsigned i = 0; i < 5000; ++i) {
		char address[40];

		snprintf(address, sizeof address, "192.0.%u.%u", i / 250, 1 + i % 250);
		if (!throttle_allows(throttle, address, now, &wait_s))
			continue;
		throttle_take(throttle, address, now);
		++passed;
	}
	CHECK_EQ(passed, 100);
	CHECK(throttle_allows(throttle, "198.51.100.1", now, &wait_s));
	throttle_free(throttle);
}

// ---- the client that a balancer names

static void test_forwarded(void)
{
	static const struct {
		const char *list, *client; // NULL: no client
	} cases[] = {
		{"203.0.113.7", "203.0.113.7"},
		{"198.51.100.66, 203.0.113.8,10.0.0.2", "203.0.113.8"},
		{" 203.0.113.9:4711 ", "203.0.113.9"},
		{"[2001:db8::7]:80, 10.1.2.3", "2001:db8::7"},
		{"2001:db8::8", "2001:db8::8"},
		{"10.0.0.9, 10.0.0.1", "10.0.0.9"},
		{"nonsense, 10.0.0.1", "10.0.0.1"},
		{"203.0.113.10, nonsense", NULL},
		{"[2001:db8::7", NULL},
		{"[203.0.113.7]", NULL},
		{"203.0.113.7:80:80", NULL},
		{"203.0.113.7,", NULL},
		{"", NULL},
		{",,,", NULL},
	};
	struct network trusted;
	char client[INET6_ADDRSTRLEN];

	CHECK_EQ(network_parse("10.0.0.0/8", &trusted), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		CHECK_EQ(forwarded_client(cases[i].list, &trusted, 1, client),
			 cases[i].client != NULL);
		if (cases[i].client)
			CHECK_STR(client, cases[i].client);
	}
}

UNIT_MAIN(UNIT_CASE(test_head_plain), UNIT_CASE(test_head_forms_of_target),
	  UNIT_CASE(test_head_refuses_smuggling), UNIT_CASE(test_head_bytes),
	  UNIT_CASE(test_head_counts), UNIT_CASE(test_body_grammar), UNIT_CASE(test_body_limits),
	  UNIT_CASE(test_rules), UNIT_CASE(test_routes), UNIT_CASE(test_series_rates),
	  UNIT_CASE(test_series_lives), UNIT_CASE(test_throttle),
	  UNIT_CASE(test_throttle_under_attack), UNIT_CASE(test_throttle_of_a_network),
	  UNIT_CASE(test_forwarded))
