// The envelope of a record: what a message of a backend has no place for, as the value of one
// header. Pure.
//
// Key, body and user headers travel as themselves. A message of a native topic has an envelope only
// when something would be lost that it asked for (due time, time to live, priority, tag, trace).
#pragma once

#include "core/wire/record.h"

#define ENVELOPE_HEADER "mqp" // the name of the header
// The optional parts of a record but for its headers: due time, time to live, priority, partition,
// tag, trace.
#define ENVELOPE_PARTS_MAX  (8u + 4 + 1 + 4 + 256 + RECORD_TRACE_SIZE)
#define ENVELOPE_REST_MAX   (RECORD_HEAD_SIZE + ENVELOPE_PARTS_MAX)
#define ENVELOPE_FIXED_SIZE 26u // version, parts, id, creation time
#define ENVELOPE_MAX        (ENVELOPE_FIXED_SIZE + ENVELOPE_PARTS_MAX + 8 + 4)
#define ENVELOPE_NOT_PLACED UINT32_MAX

// Flags of the parts without which a message of a native topic would not be what was asked for.
#define ENVELOPE_ASKED (RECORD_DUE | RECORD_TTL | RECORD_PRIORITY | RECORD_TAG | RECORD_TRACE)

// 0: the record has none.
size_t envelope_size(const struct record_view *view, bool native);
// Of a record that is taken at `accepted_ms`, by the wall clock. `placed`: the partition that was
// chosen, where the backend does not keep it; else ENVELOPE_NOT_PLACED. Its size is told.
size_t envelope_write(const struct record_view *view, int64_t accepted_ms, uint32_t placed,
		      uint8_t room[ENVELOPE_MAX]);
// False: it is none. Makes a record that has neither key nor body nor headers. *ret_accepted_ms and
// *ret_placed are set when the envelope says them. `ret_placed` NULL: one that says it is none.
bool envelope_read(const uint8_t *value, size_t size, uint8_t rest[ENVELOPE_REST_MAX],
		   int64_t *ret_accepted_ms, uint32_t *ret_placed);
