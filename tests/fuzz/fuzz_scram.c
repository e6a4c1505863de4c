// Foreign SCRAM messages, to the server and to the client. Without the secret no peer is let
// in: only the exchange that was made with it, which is among the seeds, may succeed.
//
// First byte: bit 0 the side, bit 1 the -PLUS mechanism, bit 2 a channel to bind to. Then two
// messages, with a line feed between them.

#include "core/net/scram.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

static const uint8_t salt[SCRAM_SALT_SIZE] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
					      0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
static struct scram_channel channel; // tls-exporter, bytes 0 to 31
static struct scram_verifier verifier;
static struct scram_cache cache;

static const struct scram_channel none;

static void server(bool plus, const struct scram_channel *bound, struct slice first,
		   struct slice final)
{
	struct scram_server state;
	char message[SCRAM_MESSAGE_MAX], expected[SCRAM_MESSAGE_MAX];
	const struct scram_channel *known;
	struct scram_client honest;
	bool same_plus;

	if (scram_server_start(&state, plus, bound, first) != 0)
		return;
	assert(strlen(state.user) <= SCRAM_USER_MAX);
	assert(scram_server_challenge(&state, &verifier, SERVER_NONCE, message) == 0);
	if (scram_server_final(&state, final, message) != 0)
		return;
	// A peer was let in: then it is, up to the proof's text, what the holder of the secret
	// sends: one that knows of the channel, or (gs2 header n) one that cannot bind.
	assert(memcmp(message, "v=", 2) == 0);
	assert(strcmp(state.first_bare, "n=user,r=" CLIENT_NONCE) == 0);
	known = first.data[0] == 'n' ? &none : bound;
	assert(scram_client_start(&honest, "user", "pencil", CLIENT_NONCE, known, plus, &cache,
				  &same_plus, expected) == 0);
	assert(same_plus == (plus && first.data[0] != 'n'));
	assert(scram_client_answer(&honest,
				   (struct slice){(const uint8_t *)state.server_first,
						  strlen(state.server_first)},
				   expected) == 0);
	assert(memcmp(final.data, expected, (size_t)(strstr(expected, ",p=") - expected)) == 0);
	scram_client_deinit(&honest);
}

static void client(bool plus, const struct scram_channel *bound, struct slice first,
		   struct slice final)
{
	struct scram_client state;
	char message[SCRAM_MESSAGE_MAX];
	bool chosen;
	int r;

	assert(scram_client_start(&state, "user", "pencil", CLIENT_NONCE, bound, plus, &cache,
				  &chosen, message) == 0);
	r = scram_client_answer(&state, first, message);
	assert(r >= 0);
	if (r == 0) {
		assert(strlen(message) < SCRAM_MESSAGE_MAX && strstr(message, ",p="));
		assert(scram_client_finish(&state, final) >= 0);
	}
	scram_client_deinit(&state);
}

// The client works as long as the server asks for; that is bounded, but a fuzzer needs it short.
static bool is_slow(struct slice first)
{
	const uint8_t *count = memmem(first.data, first.size, "i=", 2);

	return count && memcmp(count, "i=4096",
			       MIN((size_t)(first.data + first.size - count), (size_t)6)) != 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static uint8_t bytes[32];

	for (uint8_t i = 0; i < sizeof bytes; ++i)
		bytes[i] = i;
	channel.exporter = (struct slice){bytes, sizeof bytes};
	return scram_verifier_make("pencil", salt, 4096, &verifier);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct scram_channel *bound;
	const uint8_t *feed;
	struct slice first, final;

	if (size < 2 || !(feed = memchr(data + 1, '\n', size - 1)))
		return 0;
	first = (struct slice){data + 1, (size_t)(feed - data - 1)};
	final = (struct slice){feed + 1, (size_t)(data + size - feed - 1)};
	bound = data[0] & 4 ? &channel : &none;
	if (!(data[0] & 1))
		server(data[0] & 2, bound, first, final);
	else if (!is_slow(first))
		client(data[0] & 2, bound, first, final);
	return 0;
}
