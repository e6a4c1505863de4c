// What clusters tell of topics and groups that have come to harm, looked at every few seconds.
#pragma once

#include <stdint.h>

struct incidents;
struct portal;

int incidents_new(struct portal *portal, struct incidents **ret);
void incidents_free(struct incidents *incidents); // no query of it is under way
void incidents_tick(struct incidents *incidents); // about once a second

// What is wrong with it, in words; NULL: nothing, or it is not known.
const char *incidents_topic(const struct incidents *incidents, uint64_t topic);
const char *incidents_group(const struct incidents *incidents, uint64_t group);
