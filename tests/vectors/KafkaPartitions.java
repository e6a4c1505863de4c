// Writes tests/vectors/kafka_partitions.txt: where Kafka's own Java client puts keys. By hand, once, with the client's
// jars as deploy/brokers/kafka keeps them:
//
//   java -cp "$HOME/.cache/mqpaas/kafka/3.9.1/*" tests/vectors/KafkaPartitions.java > tests/vectors/kafka_partitions.txt
//
// A line: key in hex ("-": empty), murmur2 of it, number of partitions, partition.
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Random;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

class KafkaPartitions {
	static final int[] PARTITIONS = {1, 2, 3, 7, 12, 64, 1000, 32767};

	static void write(byte[] key, int partitions) {
		System.out.printf("%s %d %d %d%n", key.length == 0 ? "-" : HexFormat.of().formatHex(key),
				  Integer.toUnsignedLong(Utils.murmur2(key)), partitions,
				  BuiltInPartitioner.partitionForKey(key, partitions));
	}

	public static void main(String[] args) {
		Random random = new Random(1);

		for (String key : new String[] {"", "a", "ab", "abc", "abcd", "order-1", "Größe", "订单"})
			for (int partitions : PARTITIONS)
				write(key.getBytes(StandardCharsets.UTF_8), partitions);
		for (int size = 1; size <= 64; ++size)
			for (int round = 0; round < 4; ++round) {
				byte[] key = new byte[size];

				random.nextBytes(key);
				write(key, PARTITIONS[random.nextInt(PARTITIONS.length)]);
			}
	}
}
