// CREDIT: how much a consumer is ready to take, as totals.
//
// The payload has a fixed size, little-endian; the feature BEGUN appends a number. It does not
// compare totals with earlier ones.

#include "core/wire/credit.h"

const char *credit_read(const uint8_t *payload, size_t size, bool begun, struct credit *ret)
{
	if (size != (begun ? CREDIT_BEGUN_SIZE : CREDIT_SIZE))
		return begun ? "CREDIT has 32 bytes where the feature BEGUN is in use"
			     : "CREDIT has 24 bytes";
	*ret = (struct credit){le64_get(payload), le64_get(payload + 8), le64_get(payload + 16),
			       begun ? le64_get(payload + 24) : 0};
	return NULL;
}

size_t credit_write(uint8_t *payload, bool begun, const struct credit *credit)
{
	le64_put(payload, credit->messages);
	le64_put(payload + 8, credit->bytes);
	le64_put(payload + 16, credit->drain);
	if (!begun)
		return CREDIT_SIZE;
	le64_put(payload + 24, credit->begun);
	return CREDIT_BEGUN_SIZE;
}
