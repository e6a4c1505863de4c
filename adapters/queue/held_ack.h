// Acknowledging to the backend, in batches with a barrier, and what is kept of it when the channel
// is lost.
#pragma once

#include "adapters/queue/held_state.h"

// Its message, or what it stands for, has ended: deliveries of the message with fewer attempts than
// `below` are void from now on. It is acknowledged; it may be freed here.
void held_ack_end(struct held *held, struct held_item *item, uint32_t below);
// One that has arrived and is the lesser of two deliveries of a message.
void held_ack_lesser(struct held *held, struct held_item *item);
// One that has arrived and is void: it may be what was to come again.
void held_ack_void(struct held *held, struct held_item *item);
void held_ack_route(struct held *held, struct held_item *item); // of one that is ACKING
// It is no member any more.
void held_ack_drop(struct held *held, struct held_item *item, enum code code);

// Something new has come: what is to come again after a loss will not.
void held_ack_prove(struct held *held);
// Nothing has come since then, though it could: what is to come again will not.
void held_ack_prove_idle(struct held *held, uint64_t since_ms);
uint64_t held_ack_limbo_since_ms(const struct held *held); // the oldest; UINT64_MAX: none
void held_ack_send(struct held *held);                     // the next batch
void held_ack_passed(struct held *held);                   // the barrier
void held_ack_lost(struct held *held);
