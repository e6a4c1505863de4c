// What ends a delivery: settles, failures, releases, dead letters.
#pragma once

#include "proxy/engine/dispatch_state.h"

bool dispatch_is_last(const struct dispatch *dispatch, uint32_t attempt);
void dispatch_disown(struct dispatch *dispatch, struct flight *flight); // OWNED → in no state
uint32_t dispatch_scheduled_delay_ms(const struct dispatch_policy *policy, uint32_t attempt);
// An attempt that has failed: comes again after the delay, or was the last one.
void dispatch_fail(struct dispatch *dispatch, uint32_t partition, struct flight *flight,
		   uint32_t delay_ms, void *request);
// Comes again at once; no attempt has ended.
void dispatch_release(struct dispatch *dispatch, uint32_t partition, struct flight *flight,
		      void *request);
void dispatch_out_send(struct dispatch *dispatch,
		       void *request); // what was gathered for the source
void dispatch_copy_dead_letter(struct dispatch *dispatch, const struct delivery *delivery);
