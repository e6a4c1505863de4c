// Makes messages of every shape out of their identity, and reduces them to a digest.
//
// The identity stands at the front of the body; the rest of body, key, headers and tag are drawn
// from it. The digest covers sizes and absence too, so that nothing can be added, lost or moved
// from one part to the next.

#include "tests/e2e/history/content.h"

#include "tests/e2e/history/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAGIC 0x534948505150514dull
#define ADDED      "mqp-" // headers of dead letters
#define CREATED_MS 1700000000000
#define SALT_SHAPE 0x51afb0de
#define SALT_FILL  0xf111

struct body_head {
	uint64_t magic;
	uint64_t sequence;
	uint32_t producer;
	uint32_t key;
};

uint64_t content_mix(uint64_t a, uint64_t b)
{
	uint64_t x =
		a * 0x9e3779b97f4a7c15ull ^ (b + 0xbf58476d1ce4e5b9ull) * 0x94d049bb133111ebull;

	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 32)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

// Mostly small, sometimes some KiB, rarely larger than a chunk of the embedded store.
static size_t body_size(uint64_t shape)
{
	size_t least = sizeof(struct body_head), part = shape >> 32;

	if (shape % 256 == 0)
		return least + part % (CONTENT_BODY_MAX - least);
	return least + part % (shape % 256 < 25 ? 4096 : 200);
}

static void body_fill(const struct identity *identity, size_t size, struct content *content,
		      struct mqp_message *message)
{
	struct body_head head = {
		.magic = BODY_MAGIC,
		.sequence = identity->sequence,
		.producer = identity->producer,
		.key = identity->key,
	};
	uint64_t state = content_mix(identity->sequence ^ SALT_FILL, identity->producer);

	for (size_t i = sizeof head / 8; i * 8 < size; ++i)
		content->body[i] = state = state * 6364136223846793005ull + 1442695040888963407ull;
	memcpy(content->body, &head, sizeof head);
	mqp_message_set_body(message, content->body, size);
}

static void extras_fill(uint64_t shape, struct content *content, struct mqp_message *message)
{
	int size = snprintf(content->value, sizeof content->value, "%" PRIx64, shape >> 20);

	if (shape & 0x100)
		mqp_message_set_tag(message, shape & 0x200 ? "red" : "green");
	if (shape & 0x400)
		mqp_message_add_header(message, "trace", content->value, (size_t)size);
	if (shape & 0x800) {
		mqp_message_add_header(message, "twice", content->value, 1);
		mqp_message_add_header(message, "twice", NULL, 0);
		mqp_message_add_header(message, "empty", "", 0);
	}
}

void content_fill(const struct identity *identity, uint32_t body_bytes, struct content *content,
		  struct mqp_message *message)
{
	uint64_t shape = content_mix(identity->sequence ^ SALT_SHAPE, identity->producer);
	size_t size = body_bytes > sizeof(struct body_head) ? body_bytes : body_size(shape);

	if (identity->key != RECORD_NO_KEY) {
		int length = snprintf(content->key, sizeof content->key, "%" PRIu32 "/%" PRIu32,
				      identity->producer, identity->key);
		mqp_message_set_key(message, content->key, (size_t)length);
	}
	body_fill(identity, size < CONTENT_BODY_MAX ? size : CONTENT_BODY_MAX, content, message);
	mqp_message_set_created_ms(message, CREATED_MS + (int64_t)identity->sequence);
	extras_fill(shape, content, message);
}

static uint64_t digest_part(uint64_t digest, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t word;

	digest = content_mix(digest, bytes ? size : UINT64_MAX);
	if (!bytes)
		return content_mix(digest, 0);
	for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
		memcpy(&word, at, sizeof word);
		digest = (digest ^ word) * 0x100000001b3ull;
		digest ^= digest >> 29;
	}
	word = 0;
	if (size)
		memcpy(&word, at, size);
	return content_mix(digest, word);
}

static uint64_t digest_headers(uint64_t digest, const struct mqp_message *message)
{
	const void *value;
	const char *name;
	size_t name_size, value_size;

	for (unsigned i = 0; mqp_message_header(message, i, &name, &name_size, &value, &value_size);
	     ++i) {
		if (name_size >= strlen(ADDED) && memcmp(name, ADDED, strlen(ADDED)) == 0)
			continue;
		digest = digest_part(digest, name, name_size);
		digest = digest_part(digest, value, value_size);
	}
	return digest;
}

uint64_t content_digest(const struct mqp_message *message)
{
	const void *bytes;
	int64_t created_ms = 0;
	uint64_t digest;
	size_t size;

	bytes = mqp_message_key(message, &size);
	digest = digest_part(0, bytes, size);
	bytes = mqp_message_body(message, &size);
	digest = digest_part(digest, bytes, size);
	bytes = mqp_message_tag(message, &size);
	digest = digest_part(digest, bytes, size);
	mqp_message_created_ms(message, &created_ms);
	return digest_headers(content_mix(digest, (uint64_t)created_ms), message);
}

bool content_identify(const struct mqp_message *message, struct identity *ret)
{
	struct body_head head;
	size_t size;
	const void *body = mqp_message_body(message, &size);

	*ret = (struct identity){.key = RECORD_NO_KEY};
	if (!body || size < sizeof head)
		return false;
	memcpy(&head, body, sizeof head);
	if (head.magic != BODY_MAGIC)
		return false;
	*ret = (struct identity){
		.producer = head.producer, .key = head.key, .sequence = head.sequence};
	return true;
}
