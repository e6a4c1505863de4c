// What the load programs that use the SDK begin with.
#pragma once

#include "sdk/c/include/mqpaas/mqpaas.h"
#include "tests/bench/args.h"

#define APP_WAIT_MS 30000

void app_check(enum mqp_code code, const char *what); // ends the program unless MQP_OK
// Arguments: address=HOST:PORT key=ID secret=SECRET [io=thread|app] [ca=FILE].
struct mqp_client *app_connect(const struct args *args);
// Arguments: topic= [batch=BYTES].
struct mqp_producer *app_producer(const struct args *args, struct mqp_client *client);
uint64_t app_cpu_ns(void); // this process has used
void app_sleep_until(uint64_t at_ns);
