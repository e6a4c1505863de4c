// What the files of a link share; link.c says how they play together.
#pragma once

#include "adapters/rabbitmq/link/channel.h"
#include "adapters/rabbitmq/link/connection.h"
#include "adapters/rabbitmq/link/link.h"
#include "core/loop/loop_thread.h"

#include <semaphore.h>

#define RABBITMQ_CHANNELS_MAX 2000u

enum rabbitmq_channel_state {
	RABBITMQ_CHANNEL_CLOSED,
	RABBITMQ_CHANNEL_WAITING, // for a connection
	RABBITMQ_CHANNEL_OPENING, // channel.open is sent
	RABBITMQ_CHANNEL_OPEN,
	RABBITMQ_CHANNEL_CLOSING, // channel.close is sent
	RABBITMQ_CHANNEL_REFUSED, // closed() is to be told: there are too many
	RABBITMQ_CHANNEL_DROPPED, // closed() is to be told: it was closed here
};

enum rabbitmq_expected { RABBITMQ_METHOD, RABBITMQ_CONTENT, RABBITMQ_BODY };

// A number of a channel on the connection, while it is in use.
struct rabbitmq_slot {
	struct rabbitmq_channel *channel;
	uint8_t expected; // enum rabbitmq_expected: the next frame
	bool too_large;   // it is closed because of what was to be sent
	struct rabbitmq_head head;
	uint8_t texts[3 * 255]; // of the head
};

struct rabbitmq_link {
	struct rabbitmq_link_config config;
	char *cluster, *name;
	struct loop *loop;
	struct loop_thread thread;
	struct rabbitmq_connection connection;
	struct loop_io io;
	struct loop_timer retry, beat;
	struct loop_task start, round, stop; // round: at the end of a round of the loop
	bool round_is_due, input_is_left;
	bool is_up, is_blocked, stopping; // atomic
	sem_t stopped;
	pthread_t dialler; // when is_dialling: it has the connection
	bool is_dialling, has_dialled;
	struct loop_task dialled;
	unsigned next_address, address; // of the options; address: connected to
	uint64_t wait_ns;               // before the next attempt
	uint64_t up_ns;                 // since when it is up

	struct list waiting, active,
		ending;       // channels: for a connection, with a number, to be told
	size_t channel_count; // of all three
	struct rabbitmq_slot *slots[RABBITMQ_CHANNELS_MAX + 1]; // by number
	bool ended[RABBITMQ_CHANNELS_MAX + 1]; // by number: the broker has closed the last channel
					       // that had it
	uint16_t last_number;

	pthread_mutex_t lock;
	char version[32];                     // under the lock
	char told[RABBITMQ_ERROR_TEXT + 400]; // what the log has of the failure; "": nothing
	uint64_t told_ns;
};
