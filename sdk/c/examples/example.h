// What the example programs share: options, the client, lines of a file as messages, a summary
// line. Only the public header is used, as an application would.
#pragma once

#include <mqpaas/mqpaas.h>

#include <stdio.h>

struct example {
	const char *program;
	const char *address;
	const char *access_key;
	const char *secret;
	const char *credentials_file;
	const char *tls_ca_file;
	const char *topic;
	const char *group;
	const char *file;    // "-": standard input
	const char *key;     // member of the JSON line whose value is the message's key
	unsigned long count; // messages to consume
	unsigned threads;
	int timeout_ms; // for the whole run
	double began;
};

enum example_kind { EXAMPLE_SENDS, EXAMPLE_CONSUMES };

// Reads the options; prints what is wrong and exits with 2, or the usage and exits with 0.
void example_options(struct example *example, enum example_kind kind, int argc, char **argv);

// Makes the client and waits until it is connected; exits with 1 and a reason when it is not.
struct mqp_client *example_connect(struct example *example, enum mqp_io io);
struct mqp_producer *example_producer(struct example *example, struct mqp_client *client);

// Ends the program with 1 and a message when `code` is not MQP_OK.
void example_check(const struct example *example, enum mqp_code code, const char *what);

// Opens the file of events. Exits with 1 when it cannot.
FILE *example_open(const struct example *example);
// Makes the next line the body of `message`, and one of its members the key. 0: end of file. The
// line lives until the next call.
int example_next(const struct example *example, FILE *file, struct mqp_message *message);

double example_now(void);                            // seconds
long example_left_ms(const struct example *example); // of timeout_ms; 0: none

// Prints the counters as one line of JSON; returns the exit status: 0 if `good`.
int example_summary(const struct example *example, const struct mqp_client *client, int good);
