// A thread that the tree starts: named, and never woken by a signal, which are the main thread's.
#pragma once

#include <pthread.h>

// -errno: there is none. @thread any
int thread_start(const char *name, void *(*fn)(void *ctx), void *ctx, pthread_t *ret);
