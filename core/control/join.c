// One link that asks one question. The authority is not known yet: the portal is accepted if its
// certificate was signed by the key whose hash is in the token, and only then is the token sent.
//
// It runs a loop of its own until there is an answer: a daemon that joins has nothing else to do.

#include "core/control/join.h"

#include "core/base/base64url.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/control/dial.h"
#include "core/control/link.h"

#include <errno.h>
#include <stdio.h>

#define DEADLINE_NS (10 * S_NS)

struct asking {
	struct link link;
	struct loop *loop;
	struct loop_timer deadline;
	const char *token, *key, *version, *address;
	uint8_t hash[CERTIFICATE_HASH_SIZE];
	json_t *answer;
	char *wrong; // NULL: nothing yet
};

bool join_token_read(const char *token, uint8_t ret_hash[CERTIFICATE_HASH_SIZE])
{
	const char *dot = strchr(token, '.');
	uint8_t hash[CERTIFICATE_HASH_SIZE + 3];
	size_t size;

	if (!dot || strlen(dot + 1) != BASE64URL_SIZE(CERTIFICATE_HASH_SIZE) - 1 ||
	    base64url_decode(dot + 1, strlen(dot + 1), hash, &size) < 0 ||
	    size != CERTIFICATE_HASH_SIZE)
		return false;
	memcpy(ret_hash, hash, CERTIFICATE_HASH_SIZE);
	return true;
}

static void go_wrong(struct asking *asking, char *wrong)
{
	if (asking->wrong)
		free(wrong);
	else
		asking->wrong = wrong;
}

static bool is_right_portal(struct asking *asking)
{
	SSL *ssl = asking->link.transport.ssl;
	_cleanup_(freep) char *authority = certificate_find_authority(ssl, asking->hash);
	char name[CERTIFICATE_NAME_SIZE];

	return authority && certificate_check(ssl, authority, name) == CERTIFICATE_FINE &&
	       strncmp(name, "portal.", 7) == 0;
}

static void on_established(struct link *link)
{
	struct asking *asking = CONTAINER_OF(link, struct asking, link);
	const char *dot = strchr(asking->token, '.');
	_cleanup_(freep) char *public_key = certificate_key_public(asking->key);

	if (!is_right_portal(asking)) {
		go_wrong(asking,
			 text_format("%s is not the portal that gave out this token: the token is "
				     "of another installation, or something between answers in "
				     "the portal's place",
				     asking->address));
		link_close(link, "another portal");
		return;
	}
	link_send_json(link, FRAME_LINK_JOIN,
		       json_pack("{s:i, s:i, s:s%, s:s, s:s}", "version", LINK_VERSION, "least",
				 LINK_LEAST, "token", asking->token, (size_t)(dot - asking->token),
				 "public_key", public_key ? public_key : "", "server_version",
				 asking->version));
}

static bool is_complete(const json_t *answer)
{
	static const char *const texts[] = {"name", "installation", "certificate", "authority",
					    "secrets"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); ++i)
		if (!json_is_string(json_object_get(answer, texts[i])))
			return false;
	return json_is_integer(json_object_get(answer, "id"));
}

static void on_frame(struct link *link, uint8_t type, struct slice payload)
{
	struct asking *asking = CONTAINER_OF(link, struct asking, link);
	json_t *body = link_json(payload);
	const char *text = json_string_value(json_object_get(body, "text"));

	if (type == FRAME_LINK_JOINED && is_complete(body) && !asking->answer)
		asking->answer = json_incref(body);
	else if (type == FRAME_LINK_REFUSED && text)
		go_wrong(asking,
			 text_format("the portal at %s refuses: %s", asking->address, text));
	else
		go_wrong(asking, text_format("%s answers what no portal does", asking->address));
	json_decref(body);
	link_close(link, "answered");
}

static void on_room(struct link *link)
{
}

static void on_closed(struct link *link, const char *why)
{
	struct asking *asking = CONTAINER_OF(link, struct asking, link);

	if (!asking->answer)
		go_wrong(asking, text_format("%s: %s", asking->address, why));
	loop_stop(asking->loop);
}

static const struct link_ops asking_ops = {
	.established = on_established, .frame = on_frame, .room = on_room, .closed = on_closed};

static void on_deadline(struct loop_timer *timer)
{
	struct asking *asking = CONTAINER_OF(timer, struct asking, deadline);

	link_close(&asking->link, "there is no answer");
}

static char *ask_over(struct asking *asking, int fd, SSL_CTX *context)
{
	int r = link_open(&asking->link, asking->loop, fd, context, false, &asking_ops);

	if (r == 0) {
		loop_timer_init(&asking->deadline, asking->loop, on_deadline);
		loop_timer_set(&asking->deadline, clock_now_ns() + DEADLINE_NS);
		r = loop_run(asking->loop);
		loop_timer_cancel(&asking->deadline);
	}
	return r < 0 ? text_format("%s: %s", asking->address, strerror(-r)) : asking->wrong;
}

char *join_ask(const char *address, const char *token, const char *key, const char *version,
	       json_t **ret)
{
	struct asking asking = {.token = token, .key = key, .version = version, .address = address};
	SSL_CTX *context = certificate_context(false, NULL, NULL, NULL);
	char *wrong;
	int fd;

	if (!join_token_read(token, asking.hash)) {
		SSL_CTX_free(context);
		return text_format("the token is not one of mqpaasctl proxy invite");
	}
	fd = dial_start(address);
	if (fd < 0 || !context || loop_new("join", &asking.loop) < 0) {
		closep(&fd);
		SSL_CTX_free(context);
		return text_format("%s: %s", address, strerror(fd < 0 ? -fd : ENOMEM));
	}
	wrong = ask_over(&asking, fd, context);
	loop_free(asking.loop);
	SSL_CTX_free(context);
	if (wrong)
		json_decref(asking.answer);
	else
		*ret = asking.answer;
	return wrong;
}
