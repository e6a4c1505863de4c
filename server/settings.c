// The rows of settings.h as an array. Every setting of mqpaasd is one row there and nothing here.

#include "server/settings.h"

#define SERVER_ROW(id, ...) [SERVER_##id] = {__VA_ARGS__},
const struct setting server_settings[SERVER_SETTING_COUNT] = {SERVER_SETTINGS(SERVER_ROW)};
#undef SERVER_ROW
