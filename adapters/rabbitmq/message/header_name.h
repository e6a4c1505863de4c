// Names of AMQP headers that are not a user's: those of ours, and those that a broker gives a
// meaning or adds by itself. Pure.
#pragma once

#include "core/base/buf.h"

enum rabbitmq_header_name {
	RABBITMQ_HEADER_NAME_USER,
	RABBITMQ_HEADER_NAME_ENVELOPE,
	RABBITMQ_HEADER_NAME_COPY,
	RABBITMQ_HEADER_NAME_KEY,
	RABBITMQ_HEADER_NAME_HEADERS,
	RABBITMQ_HEADER_NAME_BODY,
	RABBITMQ_HEADER_NAME_BROKER,
	RABBITMQ_HEADER_NAMES,
};

// Whose a name is.
enum rabbitmq_header_name rabbitmq_header_name_of(struct slice name);
