// Metrics of the process itself, with the names that Prometheus' own clients use, and of its
// certificates.
//
// They are read from /proc and the kernel at each scrape; nothing is kept here. A value that cannot
// be read is absent.

#include "server/metrics_tables.h"

#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "server/daemon_state.h"

#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/resource.h>

static void put_build(struct collector *collector)
{
	collector_put(collector, 1, (const char *const[]){VERSION});
}

// When the machine began: two clocks that are read one after the other would say another time at
// each scrape. 0: not known.
static double boot_time_s(void)
{
	FILE *file = fopen("/proc/stat", "re");
	char line[256];
	double boot_s = 0;

	// The lines of interrupts are longer than this and come in parts, none of which begins so.
	while (file && boot_s == 0 && fgets(line, sizeof line, file))
		if (sscanf(line, "btime %lf", &boot_s) != 1)
			boot_s = 0;
	if (file)
		fclose(file);
	return boot_s;
}

// Field 22 of /proc/self/stat counts from the start of the machine.
static void put_start(struct collector *collector)
{
	double boot_s = boot_time_s(), began_s = 0;
	FILE *file = fopen("/proc/self/stat", "re");

	if (file && fscanf(file,
			   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
			   "%*d %*d %*d %*d %*d %lf",
			   &began_s) == 1)
		began_s /= (double)sysconf(_SC_CLK_TCK);
	if (file)
		fclose(file);
	if (boot_s > 0)
		collector_put_flat(collector, boot_s + began_s);
}

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void put_cpu(struct collector *collector)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		collector_put_flat(collector,
				   seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime));
}

static void put_resident(struct collector *collector)
{
	FILE *file = fopen("/proc/self/statm", "re");
	double pages;

	if (file && fscanf(file, "%*u %lf", &pages) == 1)
		collector_put_flat(collector, pages * (double)sysconf(_SC_PAGESIZE));
	if (file)
		fclose(file);
}

static void put_open_fds(struct collector *collector)
{
	DIR *directory = opendir("/proc/self/fd");
	double count = -3; // ".", ".." and the directory itself

	if (!directory)
		return;
	while (readdir(directory))
		++count;
	closedir(directory);
	collector_put_flat(collector, count);
}

static void put_max_fds(struct collector *collector)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		collector_put_flat(collector, (double)limit.rlim_cur);
}

static void put_message_memory(struct collector *collector)
{
	uint64_t limit, used;

	if (!collector->daemon->proxy)
		return;
	used = proxy_message_memory(collector->daemon->proxy, &limit);
	collector_put(collector, (double)used, (const char *const[]){"used"});
	collector_put(collector, (double)limit, (const char *const[]){"limit"});
}

// ---- certificates

static void put_expiry(struct collector *collector, const char *of, const X509 *certificate)
{
	struct tm until;

	if (certificate && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until) == 1)
		collector_put(collector, (double)timegm(&until), (const char *const[]){of});
}

// What a cluster is shown, when its options have one.
static void put_cluster_expiry(void *ctx, const struct model_object *object)
{
	const struct cluster *cluster = (const struct cluster *)(const void *)object;
	json_t *options = json_loads(cluster->options_json ? cluster->options_json : "{}", 0, NULL);
	const char *pem = json_string_value(json_object_get(options, "certificate_pem"));
	BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	char of[MODEL_NAME_BYTES + 16];

	snprintf(of, sizeof of, "cluster %s", cluster->name);
	put_expiry(ctx, of, certificate);
	X509_free(certificate);
	BIO_free(bio);
	json_decref(options);
}

static void put_expiries(struct collector *collector)
{
	struct daemon *daemon = (struct daemon *)(uintptr_t)collector->daemon;

	pthread_mutex_lock(&daemon->tls_lock);
	if (daemon->tls)
		put_expiry(collector, "listeners", SSL_CTX_get0_certificate(daemon->tls));
	pthread_mutex_unlock(&daemon->tls_lock);
	catalog_each(daemon->catalog, MODEL_CLUSTER, put_cluster_expiry, collector);
}

static const struct metric_row rows[] = {
	{{"mqpaas_build_info", METRIC_GAUGE, "", "version", false, "always 1"}, put_build},
	{{"process_start_time_seconds", METRIC_GAUGE, "seconds", "", false,
	  "when the process began, since 1970-01-01 UTC"},
	 put_start},
	{{"process_cpu_seconds_total", METRIC_COUNTER, "seconds", "", false,
	  "user and system CPU time of the process"},
	 put_cpu},
	{{"process_resident_memory_bytes", METRIC_GAUGE, "bytes", "", false,
	  "memory of the process that is in RAM, the store's mapped pages among it"},
	 put_resident},
	{{"process_open_fds", METRIC_GAUGE, "", "", false, "open descriptors"}, put_open_fds},
	{{"process_max_fds", METRIC_GAUGE, "", "", false, "most descriptors it may open"},
	 put_max_fds},
	{{"mqpaas_message_memory_bytes", METRIC_GAUGE, "bytes", "of", false,
	  "memory that messages on their way take in the proxy, and its limit"},
	 put_message_memory},
	{{"mqpaas_certificate_expiry_timestamp_seconds", METRIC_GAUGE, "seconds", "of", false,
	  "when a certificate ends, since 1970-01-01 UTC: of our listeners, and what a cluster is "
	  "shown"},
	 put_expiries},
};
const struct metric_table metrics_process = {rows, ARRAY_SIZE(rows)};
