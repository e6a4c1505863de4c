// core/net/scram: the exchange of RFC 7677, bindings, downgrades, and what is refused.

#include "core/net/scram.h"
#include "tests/unit/unit.h"

static struct slice of(const char *text)
{
	return (struct slice){(const uint8_t *)text, strlen(text)};
}

static const struct scram_channel no_channel;

// RFC 7677 section 3.
static const uint8_t rfc_salt[] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
				   0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
#define RFC_CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_CLIENT_FIRST "n,,n=user,r=" RFC_CLIENT_NONCE
#define RFC_SERVER_FIRST "r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_CLIENT_FINAL                                                                           \
	"c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE                                              \
	",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void rfc_client(void)
{
	struct scram_client client;
	struct scram_cache cache = {0};
	char message[SCRAM_MESSAGE_MAX];
	bool plus;

	for (unsigned round = 0; round < 2; ++round) { // the second one from the cache
		CHECK_EQ(scram_client_start(&client, "user", "pencil", RFC_CLIENT_NONCE, NULL,
					    false, &cache, &plus, message),
			 0);
		CHECK_STR(message, RFC_CLIENT_FIRST);
		CHECK(!plus);
		CHECK_EQ(scram_client_answer(&client, of(RFC_SERVER_FIRST), message), 0);
		CHECK_STR(message, RFC_CLIENT_FINAL);
		CHECK_EQ(scram_client_finish(&client, of(RFC_SERVER_FINAL)), 0);
		CHECK_EQ(scram_client_finish(&client,
					     of("v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")),
			 SCRAM_E_PROOF);
		CHECK_EQ(scram_client_finish(&client, of("e=other-error")), SCRAM_E_MALFORMED);
	}
	CHECK_EQ(cache.iterations, 4096);
}

// A reloaded secret has the salt of the one before it: what is kept of the old one must not be
// used.
static void cache_knows_its_secret(void)
{
	struct scram_client client;
	struct scram_cache cache = {0};
	char message[SCRAM_MESSAGE_MAX];
	bool plus;

	CHECK_EQ(scram_client_start(&client, "user", "crayon", RFC_CLIENT_NONCE, NULL, false,
				    &cache, &plus, message),
		 0);
	CHECK_EQ(scram_client_answer(&client, of(RFC_SERVER_FIRST), message), 0);
	CHECK(strcmp(message, RFC_CLIENT_FINAL) != 0);
	CHECK_EQ(scram_client_start(&client, "user", "pencil", RFC_CLIENT_NONCE, NULL, false,
				    &cache, &plus, message),
		 0);
	CHECK_EQ(scram_client_answer(&client, of(RFC_SERVER_FIRST), message), 0);
	CHECK_STR(message, RFC_CLIENT_FINAL);
}

static int rfc_server(const char *client_final, char message[SCRAM_MESSAGE_MAX])
{
	struct scram_server server;
	struct scram_verifier verifier;

	CHECK_EQ(scram_verifier_make("pencil", rfc_salt, 4096, &verifier), 0);
	CHECK_EQ(scram_server_start(&server, false, &no_channel, of(RFC_CLIENT_FIRST)), 0);
	CHECK_STR(server.user, "user");
	CHECK_EQ(scram_server_challenge(&server, &verifier, RFC_SERVER_NONCE, message), 0);
	CHECK_STR(message, RFC_SERVER_FIRST);
	return scram_server_final(&server, of(client_final), message);
}

static void rfc_server_side(void)
{
	char message[SCRAM_MESSAGE_MAX];

	CHECK_EQ(rfc_server(RFC_CLIENT_FINAL, message), 0);
	CHECK_STR(message, RFC_SERVER_FINAL);
	CHECK_EQ(rfc_server("c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE
			    ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			    message),
		 SCRAM_E_PROOF);
	CHECK_EQ(rfc_server("c=biws,r=" RFC_CLIENT_NONCE
			    "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			    message),
		 SCRAM_E_MALFORMED);
	CHECK_EQ(rfc_server("c=eSws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE
			    ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			    message),
		 SCRAM_E_BINDING);
	CHECK_EQ(rfc_server("c=biws", message), SCRAM_E_MALFORMED);
	CHECK_EQ(rfc_server("", message), SCRAM_E_MALFORMED);
}

static const struct scram_channel channel = {{(const uint8_t *)"exporter bytes", 14},
					     {(const uint8_t *)"end point", 9}};
static const struct scram_channel other_channel = {{(const uint8_t *)"another's one!", 14},
						   {(const uint8_t *)"elsewhere", 9}};
static const struct scram_channel end_point_only = {{NULL, 0}, {(const uint8_t *)"end point", 9}};

static int exchange(const struct scram_channel *client_channel,
		    const struct scram_channel *server_channel, bool offered)
{
	struct scram_client client;
	struct scram_server server;
	struct scram_verifier verifier;
	char message[SCRAM_MESSAGE_MAX], answer[SCRAM_MESSAGE_MAX];
	bool plus;
	int r;

	scram_verifier_make("secret", rfc_salt, 4096, &verifier);
	CHECK_EQ(scram_client_start(&client, "key", "secret", "fyko+d2lbbFgONRv9qkxdawL",
				    client_channel, offered, NULL, &plus, message),
		 0);
	r = scram_server_start(&server, plus, server_channel, of(message));
	if (r)
		return r;
	scram_server_challenge(&server, &verifier, "3rfcNHYJY1ZVvWVs7j", message);
	CHECK_EQ(scram_client_answer(&client, of(message), answer), 0);
	r = scram_server_final(&server, of(answer), message);
	return r ? r : scram_client_finish(&client, of(message));
}

static void bindings(void)
{
	CHECK_EQ(exchange(&no_channel, &no_channel, false), 0);
	CHECK_EQ(exchange(&channel, &channel, true), 0);
	CHECK_EQ(exchange(&end_point_only, &channel, true), 0);
	CHECK_EQ(exchange(&no_channel, &channel, true), 0);                  // cannot bind, says so
	CHECK_EQ(exchange(&channel, &other_channel, true), SCRAM_E_BINDING); // a man in the middle
	CHECK_EQ(exchange(&channel, &channel, false), SCRAM_E_BINDING); // the offer was stripped
	CHECK_EQ(exchange(&channel, &no_channel, true),
		 SCRAM_E_BINDING); // TLS ends before the server
}

static void client_refusals(void)
{
	static const char *const bad[] = {
		"",
		"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"r=" RFC_CLIENT_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"r=" RFC_CLIENT_NONCE "x,s=!!!!,i=4096",
		"r=" RFC_CLIENT_NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
		"r=" RFC_CLIENT_NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999",
		"m=ext,r=" RFC_CLIENT_NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	};
	struct scram_client client;
	char message[SCRAM_MESSAGE_MAX];
	bool plus;

	for (size_t i = 0; i < ARRAY_SIZE(bad); ++i) {
		CHECK_EQ(scram_client_start(&client, "user", "pencil", RFC_CLIENT_NONCE, NULL,
					    false, NULL, &plus, message),
			 0);
		CHECK_EQ(scram_client_answer(&client, of(bad[i]), message), SCRAM_E_MALFORMED);
	}
	CHECK(scram_client_start(&client, "a,b", "x", "n", NULL, false, NULL, &plus, message) < 0);
	CHECK(scram_client_start(&client, "user", "caf\xc3\xa9", "n", NULL, false, NULL, &plus,
				 message) < 0);
}

static void unknown_users_look_the_same(void)
{
	uint8_t secret[SCRAM_KEY_SIZE] = {7};
	struct scram_verifier a, again, b;

	CHECK_EQ(scram_verifier_fake(secret, "nobody", &a), 0);
	CHECK_EQ(scram_verifier_fake(secret, "nobody", &again), 0);
	CHECK_EQ(scram_verifier_fake(secret, "noone", &b), 0);
	CHECK(memcmp(&a, &again, sizeof a) == 0);
	CHECK(memcmp(a.salt, b.salt, sizeof a.salt) != 0);
	CHECK_EQ(a.iterations, SCRAM_ITERATIONS);
}

UNIT_MAIN(UNIT_CASE(rfc_client), UNIT_CASE(cache_knows_its_secret), UNIT_CASE(rfc_server_side),
	  UNIT_CASE(bindings), UNIT_CASE(client_refusals), UNIT_CASE(unknown_users_look_the_same))
