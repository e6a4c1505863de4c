// Reads the parameters of live queries that adapters get as structs, and refuses what is wrong with
// them before an adapter is asked.
//
// Invariant: what is returned needs no second check by an adapter. A position in a partition that
// the topic does not have is no fault: the adapter passes over it.

#include "proxy/query/parameters.h"

#include "core/base/util.h"

#include <errno.h>

static struct seek_position read_position(const json_t *position)
{
	json_int_t partition = json_integer_value(json_object_get(position, "partition")),
		   offset = json_integer_value(json_object_get(position, "offset"));

	return (struct seek_position){.partition = partition < 0 || partition > UINT32_MAX
							   ? UINT32_MAX
							   : (uint32_t)partition,
				      .offset = (uint64_t)MAX(offset, 0)};
}

static int read_positions(const json_t *list, struct seek_target *ret)
{
	size_t count = json_array_size(list), i;
	struct seek_position *positions = calloc(MAX(count, 1), sizeof *positions);
	const json_t *position;

	if (!positions)
		return -ENOMEM;
	json_array_foreach(list, i, position) positions[i] = read_position(position);
	*ret = (struct seek_target){
		.place = SEEK_POSITIONS, .positions = positions, .position_count = count};
	return 0;
}

int parameters_target(const json_t *to, struct seek_target *ret)
{
	const json_t *time_ms = json_object_get(to, "time_ms"),
		     *positions = json_object_get(to, "positions");

	if (json_is_true(json_object_get(to, "earliest")))
		*ret = (struct seek_target){.place = SEEK_EARLIEST};
	else if (json_is_true(json_object_get(to, "latest")))
		*ret = (struct seek_target){.place = SEEK_LATEST};
	else if (json_is_integer(time_ms))
		*ret = (struct seek_target){.place = SEEK_TIME,
					    .time_ms = json_integer_value(time_ms)};
	else if (json_is_array(positions))
		return read_positions(positions, ret);
	else
		return -EINVAL;
	return 0;
}

enum code parameters_messages(const json_t *parameters, uint32_t partitions,
			      struct message_query *ret, const char **ret_text)
{
	json_int_t partition = json_integer_value(json_object_get(parameters, "partition")),
		   limit = json_integer_value(json_object_get(parameters, "limit")),
		   offset = json_integer_value(json_object_get(parameters, "offset"));
	const json_t *time_ms = json_object_get(parameters, "time_ms");

	if (partition < 0 || partition >= (json_int_t)partitions) {
		*ret_text = "partition: the topic has fewer";
		return CODE_BAD_REQUEST;
	}
	*ret = (struct message_query){
		.partition = (uint32_t)partition,
		.by_time = time_ms != NULL,
		.time_ms = json_integer_value(time_ms),
		.offset = (uint64_t)MAX(offset, 0),
		.limit = (uint32_t)MIN(MAX(limit, 1), (json_int_t)MESSAGE_QUERY_MAX)};
	return CODE_OK;
}
