// The connection of commands that send and receive: opens the SDK's client with what the context
// says, and ends them at a signal.
//
// The first SIGINT or SIGTERM asks the command to end in order; the second one ends the process.
// Codes of the SDK become exit statuses here.

#include "ctl/session.h"

#include <signal.h>
#include <stddef.h>

#define CONNECT_MS 10000

volatile int session_interrupted;

static void on_signal(int number)
{
	session_interrupted = 1;
	signal(number, SIG_DFL);
}

void session_catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int session_fail(const char *doing, enum mqp_code code)
{
	ctl_fail(CTL_FAILED, "%s: %s: %s", doing, mqp_code_name(code), mqp_strerror(code));
	switch (code) {
	case MQP_NOT_FOUND: return CTL_MISSING;
	case MQP_NOT_CONNECTED:
	case MQP_TIMEOUT: return CTL_DOWN;
	case MQP_BAD_CREDENTIALS:
	case MQP_INVALID_ARGUMENT: return CTL_USAGE;
	default: return CTL_FAILED;
	}
}

int session_open(const struct context *context, struct mqp_client **ret)
{
	struct mqp_client_config config;
	struct mqp_client *client;
	enum mqp_code code;

	mqp_client_config_init(&config, sizeof config);
	config.addresses = context->addresses;
	config.access_key = context->access_key;
	config.secret = context->secret;
	config.tls_ca_file = context->ca_file;
	code = mqp_client_new(&config, &client);
	if (code == MQP_BAD_CREDENTIALS)
		return ctl_fail(CTL_USAGE,
				"no access key: give --access-key and MQPAAS_SECRET, or put both "
				"into the context "
				"(mqpaasctl context set NAME --access-key … --secret …)");
	if (code != MQP_OK)
		return session_fail("connecting", code);
	code = mqp_client_connect(client, CONNECT_MS);
	if (code != MQP_OK) {
		mqp_client_free(client);
		return session_fail(context->addresses ? context->addresses : "connecting", code);
	}
	*ret = client;
	return 0;
}
