// The JSON form of what adapters answer (adapters/answer.h), as core/catalog/query.h describes it.
#pragma once

#include "adapters/answer.h"

#include <jansson.h>

// The caller's. `bodies`: messages are shown with theirs. NULL: no memory, or a text that is not
// UTF-8. @thread any
json_t *answer_json(const struct adapter_answer *answer, bool bodies);
// {key: true or false} of every capability; the caller's; NULL: no memory. @thread any
json_t *answer_json_capabilities(uint32_t capabilities);
