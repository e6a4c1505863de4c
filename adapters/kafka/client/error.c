// Translates an error of Kafka into a code of the product.
//
// One table for administrative requests, reads and sends. An error that is not in it has to do with
// connections, elections or brokers that start: BACKEND_DOWN, and asking again later may succeed.
// Where an error means another thing, its caller says so: a missing topic to the reads of
// read/stream.c and to the retry store (retry_topic_code(), retry_write.c).
//
// What it does not do: say whether a message was stored; its status says that (produce.c).

#include "adapters/kafka/client/error.h"

#include "core/base/util.h"

// Newer versions of librdkafka say of the others in a batch which record was refused; older ones
// have no name for it.
#define ERR_OTHER_RECORD (-138)

// What is not here has to do with connections, elections and brokers that start: asked again later,
// it may go well.
static const struct {
	rd_kafka_resp_err_t error;
	enum code code, send; // of a message, where that is another
} meanings[] = {
	{RD_KAFKA_RESP_ERR_NO_ERROR, CODE_OK, CODE_OK},
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, CODE_NOT_FOUND, CODE_NOT_FOUND},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, CODE_NOT_FOUND, CODE_NOT_FOUND},
	{RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, CODE_NOT_FOUND, CODE_NOT_READY}, // it may be growing
	{RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, CODE_NOT_FOUND, CODE_NOT_FOUND},
	{RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, CODE_CONFLICT, CODE_CONFLICT},
	{RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, CODE_CONFLICT, CODE_CONFLICT},
	{RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP, CODE_CONFLICT, CODE_CONFLICT},
	{RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC, CODE_CONFLICT, CODE_CONFLICT},
	{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR_INVALID_CONFIG, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR_INVALID_RECORD, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{(rd_kafka_resp_err_t)ERR_OTHER_RECORD, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR__INVALID_ARG, CODE_BAD_REQUEST, CODE_BAD_REQUEST},
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, CODE_TOO_LARGE, CODE_TOO_LARGE},
	{RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, CODE_TOO_LARGE, CODE_TOO_LARGE},
	{RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, CODE_TOO_LARGE, CODE_TOO_LARGE},
	{RD_KAFKA_RESP_ERR__QUEUE_FULL, CODE_OVERLOADED, CODE_OVERLOADED},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_INVALID_REQUEST, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
	{RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, CODE_BACKEND_ERROR, CODE_BACKEND_ERROR},
};

bool kafka_error_is_of_record(rd_kafka_resp_err_t error)
{
	switch ((int)error) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case ERR_OTHER_RECORD: return true;
	default: return false;
	}
}

bool kafka_error_is_missing_topic(rd_kafka_resp_err_t error)
{
	return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
	       error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

static size_t meaning_find(rd_kafka_resp_err_t error)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(meanings) && meanings[i].error != error)
		++i;
	return i;
}

enum code kafka_error_code(rd_kafka_resp_err_t error)
{
	size_t i = meaning_find(error);

	return i < ARRAY_SIZE(meanings) ? meanings[i].code : CODE_BACKEND_DOWN;
}

bool kafka_error_is_transient(rd_kafka_resp_err_t error)
{
	return kafka_error_code(error) == CODE_BACKEND_DOWN;
}

enum code kafka_error_send_code(rd_kafka_resp_err_t error)
{
	size_t i = meaning_find(error);

	return i < ARRAY_SIZE(meanings) ? meanings[i].send : CODE_BACKEND_DOWN;
}
