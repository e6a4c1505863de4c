// Opens connections through the SDK, waits until each is authenticated, and holds them.
//
//   bench_idle address= key= secret= connections=N [ca=FILE]
//
// Prints {"connections": N} when all of them stand, and ends when its standard input does. The
// clients run in this thread (MQP_IO_APP): only the server's memory is of interest.

#include "core/base/util.h"
#include "sdk/c/include/mqpaas/mqpaas.h"
#include "tests/bench/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define WAIT_MS 30000

static void allow_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static struct mqp_client *connect_client(const struct mqp_client_config *config)
{
	struct mqp_client *client;
	enum mqp_code code = mqp_client_new(config, &client);

	if (code == MQP_OK)
		code = mqp_client_connect(client, WAIT_MS);
	if (code != MQP_OK)
		die("cannot connect: %s", mqp_code_name(code));
	return client;
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	uint64_t count = args_number(&args, "connections", 1000);
	struct mqp_client **clients = calloc(count, sizeof(struct mqp_client *));
	struct mqp_client_config config;

	if (!clients)
		die("out of memory");
	allow_descriptors();
	mqp_client_config_init(&config, sizeof config);
	config.addresses = args_text(&args, "address", NULL);
	config.access_key = args_text(&args, "key", NULL);
	config.secret = args_text(&args, "secret", NULL);
	config.tls_ca_file = args_text(&args, "ca", NULL);
	config.io = MQP_IO_APP;
	for (uint64_t i = 0; i < count; ++i)
		clients[i] = connect_client(&config);
	printf("{\"connections\": %llu}\n", (unsigned long long)count);
	fflush(stdout);
	while (getchar() != EOF)
		continue;
	for (uint64_t i = 0; i < count; ++i)
		mqp_client_free(clients[i]);
	free(clients);
	return 0;
}
