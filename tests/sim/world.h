// Virtual time: the functions of core/base/clock.h and core/loop/loop.h for engines that stand on a
// loop, without libevent and without waiting. The timers' heap is the real one.
#pragma once

#include <stdint.h>

struct loop;

struct loop *world_start(uint64_t now_ns, int64_t wall_ms); // nothing is left of the world before
void world_end(void);                                       // nothing may be under way
void world_run(void);                                       // all that is ready now
void world_pass(uint64_t ns);     // time passes; what is due meanwhile runs at its time
void world_wall_jump(int64_t ms); // the wall clock is set forward, or back
