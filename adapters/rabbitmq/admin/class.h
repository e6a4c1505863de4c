// The class of durability that a cluster gives, why, and what follows for its capabilities.
#pragma once

#include "adapters/rabbitmq/admin/job.h"
#include "adapters/rabbitmq/manage/manage.h"

#define RABBITMQ_CLASS_REASON 512

// Of what is stored by us. Pure. The reason has RABBITMQ_CLASS_REASON bytes.
enum durability rabbitmq_class_of(const struct rabbitmq_options *options,
				  const struct rabbitmq_summary *summary, char *ret_reason);
// Members of a quorum queue of this topic; 0: the broker's default. Pure.
uint32_t rabbitmq_class_copies(const struct adapter *adapter, const struct topic *topic);
// Works out the capabilities anew. @thread any
void rabbitmq_class_update(struct adapter *adapter);
// Refuses what the cluster cannot promise to the topic of the job, once it is known what it can:
// `refusal` NULL: it can. @thread any; then: any
void rabbitmq_class_check(struct rabbitmq_job *job,
			  void (*then)(struct rabbitmq_job *job, const char *refusal));
// The slot. @thread any
uint32_t rabbitmq_class_capabilities(struct adapter *adapter);
