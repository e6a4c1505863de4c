// Chooses the clusters that are probed, and reports the results.

#include "proxy/probe/probes.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "proxy/base/worker.h"
#include "proxy/probe/probe.h"
#include "proxy/resource/shared.h"

#include <sys/random.h>

static bool is_on(const struct probes *probes)
{
	return probes->workers->all[0]->limits.probe_interval_ms > 0 && !probes->closing;
}

static struct probe *probe_find(const struct probes *probes, uint64_t cluster)
{
	LIST_FOREACH(node, next, &probes->all)
	{
		struct probe *probe = LIST_ENTRY(node, struct probe, in_all);

		if (probe->cluster == cluster)
			return probe;
	}
	return NULL;
}

static void probe_add(struct probes *probes, uint64_t cluster)
{
	struct probe *probe;

	if (probe_new(probes, cluster, &probe) < 0) {
		log_error(NULL, "PROBE-FAILED", "out of memory; a cluster is not probed");
		return;
	}
	list_push_back(&probes->all, &probe->in_all);
}

void probes_cluster_changed(struct probes *probes, uint64_t cluster, bool gone)
{
	const struct cluster *model = catalog_cluster(probes->shared->catalog, cluster);
	struct probe *probe = probe_find(probes, cluster);
	bool wanted = model && is_on(probes);

	model_unref(model);
	if (!probe && wanted)
		probe_add(probes, cluster);
	else if (probe && !model)
		probe_end(probe);
	else if (probe && gone)
		probe_leave(probe); // it opens again in its next round
}

// The clusters of the catalog: noted under its lock, used afterwards.
struct cluster_list {
	uint64_t *ids;
	size_t count, room;
};

static void cluster_note(void *ctx, const struct model_object *object)
{
	struct cluster_list *list = ctx;

	if (list->count == list->room) {
		size_t room = MAX(2 * list->room, (size_t)16);
		uint64_t *ids = realloc(list->ids, room * sizeof *ids);

		if (!ids)
			return;
		list->ids = ids;
		list->room = room;
	}
	list->ids[list->count++] = object->id;
}

static void probe_reload(struct probe *probe, bool on)
{
	if (!on)
		probe_end(probe);
	else if (!probe->running && !probe->ended)
		loop_timer_set(&probe->next, clock_now_ns()); // by the new interval from now on
}

void probes_reload(struct probes *probes)
{
	struct cluster_list list = {0};
	bool on = is_on(probes);

	LIST_FOREACH(node, next, &probes->all)
	probe_reload(LIST_ENTRY(node, struct probe, in_all), on);
	if (!on)
		return;
	catalog_each(probes->shared->catalog, MODEL_CLUSTER, cluster_note, &list);
	for (size_t i = 0; i < list.count; ++i)
		if (!probe_find(probes, list.ids[i]))
			probe_add(probes, list.ids[i]);
	free(list.ids);
}

void probes_init(struct probes *probes, const struct workers *workers, struct shared *shared,
		 const char *proxy_id)
{
	probes->workers = workers;
	probes->shared = shared;
	probes->proxy_id = proxy_id;
	list_init(&probes->all);
	if (getrandom(&probes->nonce, sizeof probes->nonce, 0) != sizeof probes->nonce)
		probes->nonce = clock_now_ns();
}

void probes_close(struct probes *probes)
{
	probes->closing = true;
	LIST_FOREACH(node, next, &probes->all)
	probe_stop(LIST_ENTRY(node, struct probe, in_all));
}

bool probes_closed(const struct probes *probes)
{
	LIST_FOREACH(node, next, &probes->all)
	if (LIST_ENTRY(node, struct probe, in_all)->phase != PROBE_IDLE)
		return false;
	return true;
}

void probes_deinit(struct probes *probes)
{
	while (!list_empty(&probes->all))
		probe_free(LIST_ENTRY(probes->all.next, struct probe, in_all));
}

// ---- what is told

static json_t *number_or_null(uint64_t number)
{
	return number ? json_integer((json_int_t)number) : json_null();
}

static json_t *text_or_null(const char *text)
{
	json_t *json = *text ? json_string(text) : json_null();

	return json ? json : json_string("an error that is no text");
}

static json_t *probe_json(const struct probe *probe)
{
	const char *state = probe->useless    ? "unsupported"
			    : !probe->last_ms ? "waiting"
			    : *probe->error   ? "failing"
					      : "ok";

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "state", state, "last_ms",
			 number_or_null((uint64_t)probe->last_ms), "last_ok_ms",
			 number_or_null((uint64_t)probe->last_ok_ms), "send_us",
			 number_or_null(probe->delay_us[0]), "receive_us",
			 number_or_null(probe->delay_us[1]), "settle_us",
			 number_or_null(probe->delay_us[2]), "error", text_or_null(probe->error));
}

static json_t *delay_json(const struct latency *latency)
{
	json_t *counts = json_array();

	for (size_t i = 0; i <= LATENCY_BOUNDS; ++i)
		json_array_append_new(counts, json_integer((json_int_t)latency->counts[i]));
	return json_pack("{s:o, s:I}", "counts", counts, "sum_us", (json_int_t)latency->sum_us);
}

static json_t *counts_json(const struct probe *probe)
{
	json_t *results = json_object(), *delays = json_object();

	for (size_t i = 0; i < PROBE_STEPS; ++i)
		json_object_set_new(results, probe_step_names[i],
				    json_integer((json_int_t)probe->counts[i]));
	for (size_t i = 0; i < PROBE_DELAYS; ++i)
		json_object_set_new(delays, probe_delay_names[i], delay_json(&probe->delays[i]));
	return json_pack("{s:o, s:o}", "results", results, "delays", delays);
}

void probes_tell(const struct probes *probes, uint64_t cluster, json_t *row)
{
	const struct probe *probe = probe_find(probes, cluster);

	if (!probe || probe->ended)
		return;
	json_object_set_new(row, "probe", probe_json(probe));
	json_object_set_new(row, "probe_counts", counts_json(probe));
}
