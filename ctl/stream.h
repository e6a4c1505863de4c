// Messages between standard input or output and a topic or group.
#pragma once

#include "ctl/ctl.h"
#include "ctl/option.h"

extern const struct option stream_produce_options[];
extern const struct option stream_consume_options[];

int stream_produce(const struct ctl *ctl, const char *topic, const json_t *options);
int stream_consume(const struct ctl *ctl, const char *group, const json_t *options);
