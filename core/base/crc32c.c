// CRC-32C (Castagnoli) of a run of bytes, and of two runs joined.
//
// Uses the processor's CRC instruction where there is one (chosen once, at load), else a table.
// Long inputs run three streams side by side, because the instruction has a latency of three
// cycles. The partial results are joined by carry-less shifts over fixed block sizes, with one
// table for 3 × 256 bytes and one for 3 × 2,048.
//
// Invariant: both ways give the same result for every input and length. The tables are filled
// before main() and never change afterwards.

#include "core/base/crc32c.h"

#include "core/base/util.h"

#include <stdbool.h>

#define POLYNOMIAL  0x82f63b78u
#define SHORT_BLOCK 256u
#define LONG_BLOCK  2048u

static uint32_t byte_table[256];
static uint32_t short_shift[4][256];
static uint32_t long_shift[4][256];

// Appends `size` zero bytes to a CRC: what a block does to the CRC of everything before it.
static uint32_t zeros_append(uint32_t crc, size_t size)
{
	while (size--)
		crc = byte_table[crc & 0xff] ^ (crc >> 8);
	return crc;
}

// The effect of zero bytes is linear over XOR, so it is computed once for each of the 32 bits and
// summed for each value of each of the four bytes of a CRC.
static void shift_table_fill(uint32_t table[4][256], size_t size)
{
	uint32_t bit_shifted[32];

	for (unsigned bit = 0; bit < 32; ++bit)
		bit_shifted[bit] = zeros_append(1u << bit, size);
	for (unsigned position = 0; position < 4; ++position) {
		for (unsigned value = 0; value < 256; ++value) {
			uint32_t crc = 0;

			for (unsigned bit = 0; bit < 8; ++bit)
				if (value & (1u << bit))
					crc ^= bit_shifted[position * 8 + bit];
			table[position][value] = crc;
		}
	}
}

// What 2^k appended zero bytes do to each bit of a CRC.
static uint32_t zeros_effect[32][32];

static uint32_t effect_apply(const uint32_t effect[32], uint32_t crc)
{
	uint32_t result = 0;

	for (; crc; crc &= crc - 1)
		result ^= effect[__builtin_ctz(crc)];
	return result;
}

static void zeros_effect_fill(void)
{
	for (unsigned bit = 0; bit < 32; ++bit)
		zeros_effect[0][bit] = zeros_append(1u << bit, 1);
	for (unsigned k = 1; k < 32; ++k)
		for (unsigned bit = 0; bit < 32; ++bit)
			zeros_effect[k][bit] =
				effect_apply(zeros_effect[k - 1], zeros_effect[k - 1][bit]);
}

// The CRC of two joined runs: appends `second_size` zero bytes to the first, in one step for each
// set bit of the size, then adds the second.
uint32_t crc32c_join(uint32_t first, uint32_t second, size_t second_size)
{
	assert(second_size <= UINT32_MAX);
	for (unsigned k = 0; second_size >> k; ++k)
		if (second_size >> k & 1)
			first = effect_apply(zeros_effect[k], first);
	return first ^ second;
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *data, size_t size)
{
	while (size--)
		crc = byte_table[(crc ^ *data++) & 0xff] ^ (crc >> 8);
	return crc;
}

#if defined(__x86_64__)
static bool has_instruction;

static uint32_t shift_crc(uint32_t table[4][256], uint32_t crc)
{
	return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
	       table[3][crc >> 24];
}

// Takes three adjacent blocks at once. `table` is the shift over one block.
__attribute__((target("sse4.2"))) static uint32_t
crc_three_streams(uint32_t crc, const uint8_t *data, size_t block, uint32_t table[4][256])
{
	uint64_t a = crc, b = 0, c = 0;

#define STEP(at)                                                                                   \
	do {                                                                                       \
		a = __builtin_ia32_crc32di(a, le64_get(data + (at)));                              \
		b = __builtin_ia32_crc32di(b, le64_get(data + block + (at)));                      \
		c = __builtin_ia32_crc32di(c, le64_get(data + 2 * block + (at)));                  \
	} while (0)
	for (size_t at = 0; at < block; at += 32) {
		STEP(at);
		STEP(at + 8);
		STEP(at + 16);
		STEP(at + 24);
	}
#undef STEP
	crc = shift_crc(table, (uint32_t)a) ^ (uint32_t)b;
	return shift_crc(table, crc) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t crc_instruction(uint32_t crc, const uint8_t *data,
								  size_t size)
{
	uint64_t wide;

	for (; size >= 3 * LONG_BLOCK; size -= 3 * LONG_BLOCK, data += 3 * LONG_BLOCK)
		crc = crc_three_streams(crc, data, LONG_BLOCK, long_shift);
	for (; size >= 3 * SHORT_BLOCK; size -= 3 * SHORT_BLOCK, data += 3 * SHORT_BLOCK)
		crc = crc_three_streams(crc, data, SHORT_BLOCK, short_shift);
	wide = crc;
	for (; size >= 8; size -= 8, data += 8)
		wide = __builtin_ia32_crc32di(wide, le64_get(data));
	crc = (uint32_t)wide;
	while (size--)
		crc = __builtin_ia32_crc32qi(crc, *data++);
	return crc;
}
#endif

__attribute__((constructor)) static void crc_prepare(void)
{
	for (unsigned value = 0; value < 256; ++value) {
		uint32_t crc = value;

		for (unsigned bit = 0; bit < 8; ++bit)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		byte_table[value] = crc;
	}
	zeros_effect_fill();
	shift_table_fill(short_shift, SHORT_BLOCK);
	shift_table_fill(long_shift, LONG_BLOCK);
#if defined(__x86_64__)
	has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (has_instruction)
		return ~crc_instruction(crc, data, size);
#endif
	return ~crc_portable(crc, data, size);
}
