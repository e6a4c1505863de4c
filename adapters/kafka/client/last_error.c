// Translates librdkafka's errors of a connection into words that an operator can act on, and
// remembers the last.
//
// The first row of the table that fits decides; it also says whether waiting may help (`plain`: it
// does not). What is worth a line in the log is new, or a minute old.
//
// What it does not do: log, or decide anything about sending (health.c).

#include "adapters/kafka/client/last_error.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>

#define TELL_NS (60 * S_NS)

// What the errors of a connection mean, and whether waiting helps. The first row of which all that
// is given fits.
static const struct {
	rd_kafka_resp_err_t error;
	const char *part; // of librdkafka's text; NULL: any
	const char *words;
	bool plain;
} meanings[] = {
	{RD_KAFKA_RESP_ERR__RESOLVE, NULL, "wrong address: the name cannot be resolved", true},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, NULL,
	 "wrong user or password, or the mechanism is not enabled there", true},
	{RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, NULL,
	 "wrong user or password, or the mechanism is not enabled there", true},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, NULL,
	 "the broker does not know options.mechanism", true},
	{RD_KAFKA_RESP_ERR__SSL, "certificate verify failed",
	 "wrong certificate: the broker's is not signed by one of options.ca_pem, or is for "
	 "another name",
	 true},
	{RD_KAFKA_RESP_ERR__SSL, "certificate",
	 "wrong certificate: the broker does not accept ours, or wants one", true},
	{RD_KAFKA_RESP_ERR__SSL, NULL,
	 "TLS does not come about; does options.security fit the broker's listener?", true},
	{RD_KAFKA_RESP_ERR__TRANSPORT, "security.protocol",
	 "the broker hangs up; does options.security fit its listener?", true},
	{RD_KAFKA_RESP_ERR__TRANSPORT, "Connection refused",
	 "wrong address, or the broker is down: nothing listens there", true},
	{RD_KAFKA_RESP_ERR__TRANSPORT, "timed out", "the broker does not answer", false},
	{RD_KAFKA_RESP_ERR__TRANSPORT, NULL, "the connection was lost", false},
	{RD_KAFKA_RESP_ERR__BAD_MSG, NULL, "what answers there does not speak Kafka's protocol",
	 true},
	{RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "the broker does not answer", false},
};

static size_t meaning_of(rd_kafka_resp_err_t error, const char *text)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(meanings); ++i)
		if (meanings[i].error == error &&
		    (!meanings[i].part || strstr(text, meanings[i].part)))
			break;
	return i;
}

void last_error_init(struct last_error *last_error)
{
	*last_error = (struct last_error){0};
	pthread_mutex_init(&last_error->lock, NULL);
}

void last_error_deinit(struct last_error *last_error)
{
	pthread_mutex_destroy(&last_error->lock);
}

// How often librdkafka has tried is not what is wrong.
static size_t essence_size(const char *text)
{
	const char *tries = strstr(text, " (after ");

	return tries ? (size_t)(tries - text) : strlen(text);
}

bool last_error_note(struct last_error *last_error, rd_kafka_resp_err_t error, const char *text,
		     uint64_t now_ns)
{
	size_t at = meaning_of(error, text);
	char words[sizeof last_error->text];
	bool news;

	// That all are down says less than what went before it.
	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		return false;
	snprintf(words, sizeof words, at < ARRAY_SIZE(meanings) ? "%s (%.*s)" : "%s%.*s",
		 at < ARRAY_SIZE(meanings) ? meanings[at].words : "", (int)essence_size(text),
		 text);
	pthread_mutex_lock(&last_error->lock);
	news = strcmp(words, last_error->text) != 0 || now_ns - last_error->told_ns >= TELL_NS;
	if (news)
		last_error->told_ns = now_ns;
	last_error->at_ns = now_ns;
	last_error->plain = at < ARRAY_SIZE(meanings) && meanings[at].plain;
	memcpy(last_error->text, words, sizeof words);
	pthread_mutex_unlock(&last_error->lock);
	return news;
}

bool last_error_since(struct last_error *last_error, uint64_t since_ns, bool *ret_plain, char *room,
		      size_t size)
{
	bool there;

	pthread_mutex_lock(&last_error->lock);
	there = last_error->at_ns && last_error->at_ns >= since_ns;
	if (there && ret_plain)
		*ret_plain = last_error->plain;
	if (there)
		snprintf(room, size, "%s", last_error->text);
	pthread_mutex_unlock(&last_error->lock);
	return there;
}

void last_error_clear(struct last_error *last_error)
{
	pthread_mutex_lock(&last_error->lock);
	last_error->at_ns = 0;
	pthread_mutex_unlock(&last_error->lock);
}
