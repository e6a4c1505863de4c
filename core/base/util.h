// Small helpers every file may use: sizes, containers, scope cleanup, little-endian access.
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define MAX(a, b)                       ((a) > (b) ? (a) : (b))

#define MS_NS 1000000ull
#define S_NS  1000000000ull

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

// Scope cleanup: `_cleanup_(freep) char *text = …;`. Set the variable to NULL when it is given
// away.
#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void freep(void *ptr)
{
	free(*(void **)ptr);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

// Integers on the wire and on disk are little-endian; these read and write them at any alignment.
#define UTIL_LE(bits)                                                                              \
	static inline uint##bits##_t le##bits##_get(const void *from)                              \
	{                                                                                          \
		uint##bits##_t value;                                                              \
		memcpy(&value, from, sizeof value);                                                \
		return value;                                                                      \
	}                                                                                          \
	static inline void le##bits##_put(void *to, uint##bits##_t value)                          \
	{                                                                                          \
		memcpy(to, &value, sizeof value);                                                  \
	}
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a big-endian machine needs byte swaps in le*_get and le*_put"
#endif
UTIL_LE(16)
UTIL_LE(32)
UTIL_LE(64)
#undef UTIL_LE
