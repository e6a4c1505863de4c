// The result of a send: its fields for the application.
//
// Getters only. A result is filled by the send queue (send_queue.c) and passed to callbacks by the
// producer. A null result reads like one that was refused. The topic is borrowed from the producer.

#include "sdk/c/src/result.h"

#include "core/base/util.h"

void result_clear(struct mqp_result *result)
{
	*result = (struct mqp_result){
		.offset = MQP_OFFSET_NONE,
		.partition = MQP_PARTITION_ANY,
		.durability = -1,
		.final = true,
	};
}

void result_refused(struct mqp_result *result, const char *topic, enum mqp_code code)
{
	result_clear(result);
	result->outcome = MQP_OUTCOME_REJECTED;
	result->code = code;
	result->topic = topic;
}

enum mqp_code mqp_result_new(struct mqp_result **ret_result)
{
	struct mqp_result *result;

	if (!ret_result)
		return MQP_INVALID_ARGUMENT;
	result = malloc(sizeof *result);
	if (!result)
		return MQP_NO_MEMORY;
	result_refused(result, NULL, MQP_OK); // must not pass for a send that succeeded
	*ret_result = result;
	return MQP_OK;
}

void mqp_result_free(struct mqp_result *result)
{
	free(result);
}

enum mqp_outcome mqp_result_outcome(const struct mqp_result *result)
{
	return result ? result->outcome : MQP_OUTCOME_REJECTED;
}

enum mqp_code mqp_result_code(const struct mqp_result *result)
{
	return result ? result->code : MQP_INVALID_ARGUMENT;
}

const uint8_t *mqp_result_id(const struct mqp_result *result)
{
	static const uint8_t none[MQP_ID_SIZE];

	return result ? result->id : none;
}

const char *mqp_result_topic(const struct mqp_result *result)
{
	return result && result->topic ? result->topic : "";
}

uint32_t mqp_result_partition(const struct mqp_result *result)
{
	return result ? result->partition : MQP_PARTITION_ANY;
}

uint64_t mqp_result_offset(const struct mqp_result *result)
{
	return result ? result->offset : MQP_OFFSET_NONE;
}

uint64_t mqp_result_incarnation(const struct mqp_result *result)
{
	return result ? result->incarnation : 0;
}

int mqp_result_durability(const struct mqp_result *result)
{
	return result ? result->durability : -1;
}

unsigned mqp_result_attempts(const struct mqp_result *result)
{
	return result ? result->attempts : 0;
}

uint32_t mqp_result_retry_after_ms(const struct mqp_result *result)
{
	return result ? result->retry_after_ms : 0;
}

int mqp_result_final(const struct mqp_result *result)
{
	return !result || result->final;
}
