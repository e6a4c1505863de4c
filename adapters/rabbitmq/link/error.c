// Puts into words what failed between this process and a broker.
//
// Two sources have numbers: the broker (reply codes of AMQP 0-9-1) and the system (errno). Each has
// a table. The broker's own text follows, because it names the exchange or queue; it is made
// harmless first, because a terminal shows it.
//
// What it does not do: name the cluster and the address; the link puts them in front.

#include "adapters/rabbitmq/link/error.h"

#include "core/base/visible.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BROKER_TEXT_MAX 300 // bytes of the broker's text

static const struct {
	uint16_t reply;
	enum code code;
	const char *words; // NULL: the broker's text says enough
} replies[] = {
	{200, CODE_CONNECTION_LOST, "the broker closed the connection"},
	{311, CODE_TOO_LARGE, NULL},
	{312, CODE_NO_ROUTE, NULL},
	{313, CODE_NO_ROUTE, NULL},
	{320, CODE_CONNECTION_LOST, "the broker closed the connection on an operator's order"},
	{402, CODE_FORBIDDEN, "the broker does not know this virtual host"},
	{403, CODE_FORBIDDEN, NULL},
	{404, CODE_NOT_FOUND, NULL},
	{405, CODE_IN_USE, NULL},
	{406, CODE_CONFLICT, NULL},
	{530, CODE_FORBIDDEN, NULL},
};

static const struct {
	int error;
	const char *words;
} failures[] = {
	{ECONNREFUSED, "connection refused: no broker listens there"},
	{ECONNRESET, "the connection was reset by the other side"},
	{EPIPE, "the connection was reset by the other side"},
	{ESHUTDOWN, "the connection was closed by the other side"},
	{ECANCELED, "the connection was given up here"},
	{EHOSTUNREACH, "the host cannot be reached"},
	{ENETUNREACH, "the network cannot be reached"},
	{ENETDOWN, "the network cannot be reached"},
	{EADDRNOTAVAIL, "the network cannot be reached"},
	{ETIMEDOUT, "no answer in time"},
	{EMFILE, "this process has no file descriptor left"},
	{ENFILE, "this machine has no file descriptor left"},
	{ENOMEM, "out of memory"},
};

enum code rabbitmq_error_code(uint16_t reply)
{
	for (size_t i = 0; i < ARRAY_SIZE(replies); ++i)
		if (replies[i].reply == reply)
			return replies[i].code;
	return CODE_BACKEND_ERROR;
}

bool rabbitmq_error_set(struct rabbitmq_error *ret, enum code code, const char *fmt, ...)
{
	va_list args;

	ret->code = code;
	ret->reply = 0;
	va_start(args, fmt);
	vsnprintf(ret->text, sizeof ret->text, fmt, args);
	va_end(args);
	return false;
}

static const char *words_find(uint16_t reply)
{
	for (size_t i = 0; i < ARRAY_SIZE(replies); ++i)
		if (replies[i].reply == reply)
			return replies[i].words;
	return NULL;
}

bool rabbitmq_error_reply(struct rabbitmq_error *ret, uint16_t reply, const void *text, size_t size)
{
	_cleanup_(freep) char *shown = visible_text(text, MIN(size, BROKER_TEXT_MAX));
	const char *words = words_find(reply), *said = shown && *shown ? shown : "(no text)";

	if (words)
		rabbitmq_error_set(ret, rabbitmq_error_code(reply), "%s: %s (%u)", words, said,
				   reply);
	else
		rabbitmq_error_set(ret, rabbitmq_error_code(reply), "%s (%u)", said, reply);
	ret->reply = reply;
	return false;
}

bool rabbitmq_error_system(struct rabbitmq_error *ret, int error)
{
	enum code code = error == ETIMEDOUT ? CODE_TIMEOUT
			 : error == ENOMEM  ? CODE_OVERLOADED
					    : CODE_BACKEND_DOWN;

	for (size_t i = 0; i < ARRAY_SIZE(failures); ++i)
		if (failures[i].error == error)
			return rabbitmq_error_set(ret, code, "%s", failures[i].words);
	return rabbitmq_error_set(ret, code, "%s", strerrordesc_np(error));
}
