// What a power cut may leave on the disk: everything durable, and of the rest whatever the disk
// happened to have written.
#pragma once

#include "tests/crash/recorder.h"

enum image_mode {
	IMAGE_DROPPED, // nothing that was not durable
	IMAGE_KEPT,    // all of it
	IMAGE_SOME,    // some writes and not others, later ones without earlier ones
	IMAGE_TORN,    // some sectors of some writes
	IMAGE_MODES
};
extern const char *const image_mode_names[IMAGE_MODES];

struct image {
	struct {
		uint8_t *durable;
		size_t size, room;
		size_t *pending; // writes that are not durable
		size_t pending_count, pending_room;
	} files[RECORDER_FILES];
	size_t cut;
};

// Moves on to a later cut: `cut` events have happened.
void image_advance(struct image *image, const struct event *events, size_t cut);
// The files as the power cut leaves them, in the directories d1 and d2 below `dir`. The D1 store
// was open, in another boot of the machine.
void image_write(const struct image *image, const struct event *events, const char *dir,
		 enum image_mode mode, uint64_t seed);
void image_deinit(struct image *image);
