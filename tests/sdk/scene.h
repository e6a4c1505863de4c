// What the scenarios of the SDK share: a fake proxy with a client on it, and waiting for what must
// become true.
#pragma once

#include "core/base/clock.h"
#include "sdk/c/include/mqpaas/mqpaas.h"
#include "tests/sdk/fake.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define PATIENCE_MS 60000 // for what must come: longer than a slow machine needs
#define PATIENCE_NS (PATIENCE_MS * MS_NS)

// Waits until `condition`; a scenario that waits in vain fails where it stands.
#define EVENTUALLY(condition)                                                                      \
	do {                                                                                       \
		uint64_t until = clock_now_ns() + PATIENCE_NS;                                     \
		while (!(condition)) {                                                             \
			struct timespec pause = {.tv_nsec = 500000};                               \
			if (clock_now_ns() > until) {                                              \
				fprintf(stderr, "%s:%d: never so: %s\n", __FILE__, __LINE__,       \
					#condition);                                               \
				exit(1);                                                           \
			}                                                                          \
			nanosleep(&pause, NULL);                                                   \
		}                                                                                  \
	} while (0)

#define OK(call) CHECK_STR(mqp_code_name(call), "OK")
#define IS(call, code)                                                                             \
	do {                                                                                       \
		enum mqp_code is_code = (call);                                                    \
		CHECK_STR(mqp_code_name(is_code), mqp_code_name(code));                            \
	} while (0)

static const struct fake_config scene_fake = {
	.access_key = "ak", .secret = "secret", .topic = "t", .group = "g"};

struct scene {
	struct fake *fake;
	struct mqp_client_config config;
	struct mqp_client *client;
	struct mqp_message *message;
	char address[64];
};

static inline void scene_client(struct scene *scene)
{
	OK(mqp_client_new(&scene->config, &scene->client));
	OK(mqp_message_new(&scene->message));
	mqp_message_set_body(scene->message, "body", 4);
}

static inline void scene_prepare(struct scene *scene, const struct fake_config *config)
{
	*scene = (struct scene){0};
	CHECK_EQ(fake_new(config, &scene->fake), 0);
	fake_address(scene->fake, scene->address, sizeof scene->address);
	mqp_client_config_init(&scene->config, sizeof scene->config);
	scene->config.addresses = scene->address;
	scene->config.access_key = config->access_key;
	scene->config.secret = config->secret;
	scene->config.log_level = MQP_LOG_ERROR;
}

static inline void scene_start(struct scene *scene)
{
	scene_prepare(scene, &scene_fake);
	scene_client(scene);
}

static inline void scene_end(struct scene *scene)
{
	mqp_message_free(scene->message);
	mqp_client_free(scene->client);
	fake_free(scene->fake);
}

static inline struct mqp_producer *scene_producer(struct scene *scene)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = "t";
	OK(mqp_producer_new(scene->client, &config, &producer));
	return producer;
}

static inline uint64_t stat_of(const struct scene *scene, enum mqp_stat stat)
{
	return mqp_client_stat(scene->client, stat);
}
