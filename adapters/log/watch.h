// Tells the sources that follow the end of a topic that something was appended.
#pragma once

#include "adapters/log/log.h"

#include <pthread.h>

// For the backend: posts all of `watches`, under their lock, that are not posted. @thread any
void log_watches_post(pthread_mutex_t *lock, struct list *watches);
