// core/base: checksums, codes, lists, buffers, log lines.

#include "core/base/buf.h"
#include "core/base/code.h"
#include "core/base/crc32c.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "core/base/visible.h"
#include "tests/unit/unit.h"

// RFC 3720, appendix B.4.
static void crc_vectors(void)
{
	uint8_t bytes[32];

	memset(bytes, 0, sizeof bytes);
	CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
	memset(bytes, 0xff, sizeof bytes);
	CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
	for (unsigned i = 0; i < sizeof bytes; ++i)
		bytes[i] = (uint8_t)i;
	CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
}

// The block paths must agree with the byte path at every length around their limits.
static void crc_lengths(void)
{
	enum { SIZE = 20000 };
	_cleanup_(freep) uint8_t *bytes = malloc(SIZE);
	uint32_t rolling = 0;

	for (unsigned i = 0; i < SIZE; ++i)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	for (unsigned i = 0; i < SIZE; ++i) {
		if (i < 2000 || i % 97 == 0)
			CHECK_EQ(crc32c(0, bytes, i), rolling);
		rolling = crc32c(rolling, bytes + i, 1);
	}
	for (unsigned i = 0; i <= SIZE; i += i < 40 ? 1 : 1234)
		CHECK_EQ(crc32c_join(crc32c(0, bytes, SIZE - i), crc32c(0, bytes + SIZE - i, i), i),
			 rolling);
}

static void codes_have_names(void)
{
	enum code code;

	for (unsigned i = 0; i < CODE_COUNT; ++i) {
		CHECK_EQ(code_parse(code_name((enum code)i), &code), 0);
		CHECK_EQ(code, i);
	}
	CHECK_STR(code_name((enum code)999), "INVALID");
	CHECK(code_parse("NO SUCH", &code) < 0);
	CHECK(code_retriable(CODE_THROTTLED) && !code_retriable(CODE_FORBIDDEN));
	CHECK_EQ(code_http(CODE_NOT_FOUND), 404);
}

static void list_order(void)
{
	struct list head = LIST_INIT(head), a, b, c;

	list_push_back(&head, &b);
	list_push_back(&head, &c);
	list_push_front(&head, &a);
	CHECK(list_pop_front(&head) == &a);
	list_unlink(&c);
	CHECK(list_pop_front(&head) == &b);
	CHECK(list_pop_front(&head) == NULL && list_empty(&head));
}

static unsigned released;

static void count_release(struct buf *buf)
{
	++released;
	free(buf);
}

static void buf_counts(void)
{
	struct buf *buf;

	CHECK_EQ(buf_new(100, &buf), 0);
	buf->release = count_release;
	buf_ref(buf);
	buf_unref(buf);
	CHECK_EQ(released, 0);
	CHECK(buf_unref(buf) == NULL);
	CHECK_EQ(released, 1);
}

static char logged[8192];

static void keep_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	(void)ctx;
	(void)level;
	memcpy(logged, line, size);
	logged[size] = '\0';
}

static void log_lines(void)
{
	_cleanup_(freep) char *long_text = malloc(5000);
	struct log_ctx ctx = {.tenant = "a\"b", .conn = 7};

	log_set_sink(keep_line, NULL);
	log_warn(&ctx, "TEST-LINE", "one\ntwo %d", 3);
	CHECK(strstr(logged,
		     "\"tenant\":\"a\\\"b\",\"conn\":\"7\",\"message\":\"one\\u000atwo 3\"}\n"));
	memset(long_text, '\1', 4999);
	long_text[4999] = '\0';
	log_warn(&ctx, "TEST-LONG", "%s", long_text);
	CHECK(strstr(logged, "\"cut\":true}\n"));
	CHECK(strlen(logged) <= 4096);
	logged[0] = '\0';
	log_debug(NULL, "TEST-DEBUG", "hidden");
	CHECK_EQ(logged[0], 0);
	log_set_sink(NULL, NULL);
}

static void hidden_characters_are_written(void)
{
	static const char raw[] = "a\x1b[2J\n\xc2\x9b"
				  "b\xe2\x80\xae\xff\xf3\xa0\x81\x81 \xe8\xae\xa2";
	_cleanup_(freep) char
		*text = visible_text(raw, sizeof raw - 1),
		*json = visible_json(
			"{\n \"a\": \"\x7f\xe2\x80\x8b\xf3\xa0\x81\x81\xe8\xae\xa2\"\n}");

	CHECK_STR(text, "a\\x1b[2J\\n\\x9b"
			"b\\u202e\\xff\\ue0041 \xe8\xae\xa2");
	CHECK_STR(json, "{\n \"a\": \"\\u007F\\u200B\\uDB40\\uDC41\xe8\xae\xa2\"\n}");
	CHECK(!visible_hides(' ') && !visible_hides(0xa0) && visible_hides(0) &&
	      visible_hides(0x2066));
}

UNIT_MAIN(UNIT_CASE(crc_vectors), UNIT_CASE(crc_lengths), UNIT_CASE(codes_have_names),
	  UNIT_CASE(list_order), UNIT_CASE(buf_counts), UNIT_CASE(log_lines),
	  UNIT_CASE(hidden_characters_are_written))
