// core/wire/partition beside Kafka's own Java client: the vectors in the file named by the argument
// (tests/vectors/KafkaPartitions.java).

#include "core/wire/partition.h"
#include "tests/unit/unit.h"

static size_t key_read(const char *hex, uint8_t *key)
{
	size_t size = 0;

	for (; *hex != '-' && hex[2 * size]; ++size) {
		unsigned byte;

		CHECK_EQ(sscanf(hex + 2 * size, "%2x", &byte), 1);
		key[size] = (uint8_t)byte;
	}
	return size;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
	uint32_t hash, partitions, partition;
	char hex[256];
	uint8_t key[128];
	size_t count = 0;

	CHECK(file != NULL);
	while (fscanf(file, "%255s %u %u %u", hex, &hash, &partitions, &partition) == 4) {
		size_t size = key_read(hex, key);

		CHECK_EQ(partition_hash(key, size), hash);
		CHECK_EQ(partition_of_key(key, size, partitions), partition);
		++count;
	}
	CHECK(feof(file) && count == 320);
	fclose(file);
	printf("%zu passed, 0 failed\n", count);
	return 0;
}
