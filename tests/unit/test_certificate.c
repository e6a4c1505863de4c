// core/control: certificates of an installation's authority as both ends of a TLS connection see
// them, and envelopes.

#include "core/control/certificate.h"
#include "core/control/envelope.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <time.h>

#define DAY_MS 86400000ll

struct party {
	char *key, *public_key, *certificate;
};

static int64_t now_ms;

static void party_deinit(struct party *party)
{
	free(party->key);
	free(party->public_key);
	free(party->certificate);
}

static struct party party_make(const char *name, const struct party *authority, int64_t at_ms)
{
	struct party party = {.key = certificate_key_new()};
	struct certificate_order order = {.name = name, .now_ms = at_ms};

	CHECK(party.key);
	party.public_key = certificate_key_public(party.key);
	CHECK(party.public_key);
	order.public_key = party.public_key;
	order.authority_key = authority ? authority->key : party.key;
	order.authority = authority ? authority->certificate : NULL;
	party.certificate = certificate_issue(&order);
	CHECK(party.certificate);
	return party;
}

// ---- a TLS connection in memory

struct meeting {
	SSL *client, *server;
	SSL_CTX *client_context, *server_context;
};

static struct meeting meet(const struct party *client, const struct party *server,
			   const struct party *authority)
{
	struct meeting meeting = {
		.client_context = certificate_context(false, client->key, client->certificate,
						      authority->certificate),
		.server_context = certificate_context(true, server->key, server->certificate,
						      authority->certificate)};
	BIO *one, *other;

	CHECK(meeting.client_context && meeting.server_context);
	meeting.client = SSL_new(meeting.client_context);
	meeting.server = SSL_new(meeting.server_context);
	CHECK(BIO_new_bio_pair(&one, 0, &other, 0) == 1);
	SSL_set_bio(meeting.client, one, one);
	SSL_set_bio(meeting.server, other, other);
	SSL_set_connect_state(meeting.client);
	SSL_set_accept_state(meeting.server);
	for (int i = 0; i < 10; ++i) {
		SSL_do_handshake(meeting.client);
		SSL_do_handshake(meeting.server);
	}
	CHECK(SSL_is_init_finished(meeting.client) && SSL_is_init_finished(meeting.server));
	return meeting;
}

static void meeting_end(struct meeting *meeting)
{
	SSL_free(meeting->client);
	SSL_free(meeting->server);
	SSL_CTX_free(meeting->client_context);
	SSL_CTX_free(meeting->server_context);
}

static void both_ends(void)
{
	char name[CERTIFICATE_NAME_SIZE];
	struct party authority, portal, proxy, bare = {0};
	struct meeting meeting;
	char *shown;

	certificate_name_authority(0xabc, name);
	authority = party_make(name, NULL, now_ms);
	certificate_name_portal(0xabc, name);
	CHECK_STR(name, "portal.0000000000000abc.mqpaas.internal");
	portal = party_make(name, &authority, now_ms);
	certificate_name_proxy(0xabc, UINT64_MAX, name);
	proxy = party_make(name, &authority, now_ms);
	meeting = meet(&proxy, &portal, &authority);
	CHECK_EQ(certificate_check(meeting.server, authority.certificate, name), CERTIFICATE_FINE);
	CHECK_STR(name, "18446744073709551615.proxy.0000000000000abc.mqpaas.internal");
	CHECK_EQ(certificate_check(meeting.client, authority.certificate, name), CERTIFICATE_FINE);
	CHECK_STR(name, "portal.0000000000000abc.mqpaas.internal");
	shown = certificate_peer_public(meeting.server);
	CHECK_STR(shown, proxy.public_key);
	free(shown);
	meeting_end(&meeting);
	meeting = meet(&bare, &portal, &authority);
	CHECK_EQ(certificate_check(meeting.server, authority.certificate, name),
		 CERTIFICATE_ABSENT);
	meeting_end(&meeting);
	party_deinit(&authority);
	party_deinit(&portal);
	party_deinit(&proxy);
}

static enum certificate_fault fault_of(const struct party *client, const struct party *authority,
				       const char *judged_by)
{
	char name[CERTIFICATE_NAME_SIZE];
	struct meeting meeting = meet(client, client, authority);
	enum certificate_fault fault = certificate_check(meeting.server, judged_by, name);

	meeting_end(&meeting);
	return fault;
}

static void faults(void)
{
	struct party authority = party_make("one", NULL, now_ms),
		     other = party_make("one", NULL, now_ms), // of the same name
		fine = party_make("p", &authority, now_ms - 80 * DAY_MS),
		     expired = party_make("p", &authority, now_ms - 91 * DAY_MS),
		     early = party_make("p", &authority, now_ms + 2 * DAY_MS),
		     below = party_make("q", &fine, now_ms); // by one that may not sign

	CHECK_EQ(fault_of(&fine, &authority, authority.certificate), CERTIFICATE_FINE);
	CHECK_EQ(fault_of(&fine, &authority, other.certificate), CERTIFICATE_FOREIGN);
	CHECK_EQ(fault_of(&expired, &authority, authority.certificate), CERTIFICATE_EXPIRED);
	CHECK_EQ(fault_of(&early, &authority, authority.certificate), CERTIFICATE_EXPIRED);
	CHECK_EQ(fault_of(&below, &fine, authority.certificate), CERTIFICATE_FOREIGN);
	party_deinit(&below);
	party_deinit(&early);
	party_deinit(&expired);
	party_deinit(&fine);
	party_deinit(&other);
	party_deinit(&authority);
}

// Certificates that were signed before and after the authority's own was renewed, by both of them.
static void authority_renewed(void)
{
	struct party authority = party_make("a", NULL, now_ms - 2000 * DAY_MS),
		     old = party_make("p", &authority, now_ms), renewed = authority;
	const struct certificate_order order = {.name = "a",
						.public_key = authority.public_key,
						.authority_key = authority.key,
						.now_ms = now_ms};
	struct party new;

	renewed.certificate = certificate_issue(&order);
	CHECK(renewed.certificate && strcmp(renewed.certificate, authority.certificate) != 0);
	new = party_make("p", &renewed, now_ms);
	CHECK_EQ(fault_of(&old, &authority, renewed.certificate), CERTIFICATE_FINE);
	CHECK_EQ(fault_of(&new, &renewed, authority.certificate), CERTIFICATE_FINE);
	free(renewed.certificate);
	party_deinit(&new);
	party_deinit(&old);
	party_deinit(&authority);
}

static void renewal_is_due(void)
{
	struct party authority = party_make("a", NULL, now_ms),
		     member = party_make("p", &authority, now_ms);

	CHECK(!certificate_is_old(member.certificate, now_ms + 59 * DAY_MS));
	CHECK(certificate_is_old(member.certificate, now_ms + 61 * DAY_MS));
	CHECK(!certificate_is_old(authority.certificate, now_ms + 2400 * DAY_MS));
	CHECK(certificate_is_old(authority.certificate, now_ms + 2500 * DAY_MS));
	CHECK(certificate_is_old("nothing", now_ms));
	party_deinit(&member);
	party_deinit(&authority);
}

// One that joins knows the hash of the authority's key alone.
static void authority_by_its_hash(void)
{
	struct party authority = party_make("a", NULL, now_ms),
		     portal = party_make("p", &authority, now_ms), bare = {0};
	struct meeting meeting = meet(&bare, &portal, &authority);
	uint8_t hash[CERTIFICATE_HASH_SIZE];
	char *found;

	CHECK_EQ(certificate_hash(authority.public_key, hash), 0);
	found = certificate_find_authority(meeting.client, hash);
	CHECK_STR(found, authority.certificate);
	free(found);
	hash[0] ^= 1;
	CHECK(!certificate_find_authority(meeting.client, hash));
	CHECK_EQ(certificate_hash("nothing", hash), -EBADMSG);
	meeting_end(&meeting);
	party_deinit(&portal);
	party_deinit(&authority);
}

// ---- envelopes

static void envelopes(void)
{
	static const char secret[] = "master";
	struct party reader = party_make("r", NULL, now_ms), other = party_make("o", NULL, now_ms);
	uint8_t closed[sizeof secret + ENVELOPE_OVERHEAD];
	char opened[sizeof secret];

	CHECK_EQ(envelope_close(reader.public_key, "1/2", secret, sizeof secret, closed), 0);
	CHECK(!memmem(closed, sizeof closed, secret, strlen(secret)));
	CHECK_EQ(envelope_open(reader.key, "1/2", closed, sizeof closed, opened), 0);
	CHECK_STR(opened, secret);
	CHECK_EQ(envelope_open(other.key, "1/2", closed, sizeof closed, opened), -EBADMSG);
	CHECK_EQ(envelope_open(reader.key, "1/3", closed, sizeof closed, opened), -EBADMSG);
	CHECK_EQ(envelope_open("nothing", "1/2", closed, sizeof closed, opened), -EBADMSG);
	CHECK_EQ(envelope_close("nothing", "1/2", secret, sizeof secret, closed), -EBADMSG);
	for (size_t size = 0; size < sizeof closed; ++size)
		CHECK_EQ(envelope_open(reader.key, "1/2", closed, size, opened), -EBADMSG);
	for (size_t i = 0; i < sizeof closed; ++i) {
		closed[i] ^= 4;
		CHECK_EQ(envelope_open(reader.key, "1/2", closed, sizeof closed, opened), -EBADMSG);
		closed[i] ^= 4;
	}
	party_deinit(&other);
	party_deinit(&reader);
}

static void other_curves(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-384");
	BIO *bio = BIO_new(BIO_s_mem());
	uint8_t closed[1 + ENVELOPE_OVERHEAD];
	char *data, *pem;
	long size;

	CHECK(key && PEM_write_bio_PUBKEY(bio, key) == 1);
	size = BIO_get_mem_data(bio, &data);
	pem = strndup(data, (size_t)size);
	CHECK_EQ(envelope_close(pem, "1/2", "s", 1, closed), -EBADMSG);
	free(pem);
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static void set_time(void)
{
	now_ms = (int64_t)time(NULL) * 1000;
}

UNIT_MAIN(UNIT_CASE(set_time), UNIT_CASE(both_ends), UNIT_CASE(faults),
	  UNIT_CASE(authority_renewed), UNIT_CASE(renewal_is_due), UNIT_CASE(authority_by_its_hash),
	  UNIT_CASE(envelopes), UNIT_CASE(other_curves))
