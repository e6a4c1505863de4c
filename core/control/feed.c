// Sends one follower what continues its position, change by change, and says when that is all.
//
// A change that has begun is sent to its end, also when the history has dropped it meanwhile; a new
// request of the follower gives it up, because slices carry the turn of the request.
//
// Not here: which changes there are (history.c), and how fast the follower takes them (the socket
// says).

#include "core/control/feed.h"

#include "core/base/util.h"

#define TELL_NS (1 * S_NS)

void feed_init(struct feed *feed)
{
	*feed = (struct feed){0};
}

void feed_deinit(struct feed *feed)
{
	feed->sending = history_change_unref(feed->sending);
}

void feed_follow(struct feed *feed, uint32_t turn, struct link_position position, bool full)
{
	feed->sending = history_change_unref(feed->sending);
	feed->turn = turn;
	feed->on = true;
	feed->full = full || !position.revision;
	feed->at = position.revision ? position : (struct link_position){0};
	feed->told_ns = 0;
}

void feed_stop(struct feed *feed, uint32_t turn)
{
	feed->sending = history_change_unref(feed->sending);
	feed->turn = turn;
	feed->on = false;
	feed->told_ns = 0;
}

static enum feed_step send_slice(struct feed *feed, size_t most, struct feed_slice *ret)
{
	struct history_change *change = feed->sending;

	*ret = (struct feed_slice){.turn = feed->turn,
				   .total = change->size,
				   .offset = feed->sent,
				   .data = change->data + feed->sent,
				   .size = MIN(most, change->size - feed->sent)};
	feed->sent += ret->size;
	return FEED_SLICE;
}

// The change stays until the next call, which may have sent its last slice.
static void end_sent(struct feed *feed)
{
	if (!feed->sending || feed->sent < feed->sending->size)
		return;
	feed->at = feed->sending->to;
	feed->full = false;
	feed->sending = history_change_unref(feed->sending);
}

static enum feed_step tell_current(struct feed *feed, const struct history *history,
				   uint64_t now_ns)
{
	if (feed->told_ns && link_position_same(feed->told, history->newest) &&
	    now_ns - feed->told_ns < TELL_NS)
		return FEED_IDLE;
	feed->told = history->newest;
	feed->told_ns = now_ns;
	return FEED_CURRENT;
}

// Nothing here would bring the follower on.
static bool is_ahead(const struct feed *feed, const struct history *history)
{
	return feed->at.source == history->newest.source &&
	       (feed->at.revision > history->newest.revision ||
		(feed->at.revision == history->newest.revision && !feed->full));
}

enum feed_step feed_next(struct feed *feed, const struct history *history, uint64_t now_ns,
			 size_t most, struct feed_slice *ret)
{
	end_sent(feed);
	if (feed->sending)
		return send_slice(feed, most, ret);
	if (!history->newest.revision)
		return FEED_IDLE;
	if (!feed->on || is_ahead(feed, history))
		return tell_current(feed, history, now_ns);
	feed->sending = feed->full ? NULL : history_delta(history, feed->at);
	if (!feed->sending)
		feed->sending = history_full(history, feed->at);
	feed->sent = 0;
	return feed->sending ? send_slice(feed, most, ret) : FEED_FULL;
}
