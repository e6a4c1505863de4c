// Configuration files: any bytes are read or refused with a place; what is accepted says the same
// after it has been written down and read again.

#include "core/base/settings.h"
#include "core/base/util.h"
#include "server/settings.h"
#include "tests/fuzz/fuzz.h"

static struct settings *settings_make(void)
{
	struct settings *settings;
	int r = settings_new(server_settings, SERVER_SETTING_COUNT, &settings);

	assert(r == 0);
	return settings;
}

static char *read_bytes(struct settings *settings, const void *bytes, size_t size)
{
	FILE *file = fmemopen((void *)(uintptr_t)bytes, size, "r");
	char *wrong;

	assert(file);
	wrong = settings_read(settings, file, "file");
	fclose(file);
	return wrong;
}

static void write_value(FILE *file, const struct setting *setting, const char *value)
{
	fprintf(file, "%s = \"", setting->name);
	for (const char *at = value; *at; ++at)
		fprintf(file, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at);
	fputs("\"\n", file);
}

static void write_all(FILE *file, const struct settings *settings)
{
	for (size_t i = 0; i < SERVER_SETTING_COUNT; ++i) {
		const struct setting *setting = &server_settings[i];
		const char *const *items;
		const char *text = settings_text(settings, i);
		size_t count;

		if (setting->type == SETTING_LIST) {
			count = settings_list(settings, i, &items);
			for (size_t j = 0; j < count; ++j)
				write_value(file, setting, items[j]);
		} else if (text) {
			write_value(file, setting, text);
		}
		if (setting->type >= SETTING_COUNT)
			assert(settings_number(settings, i) >= setting->min &&
			       settings_number(settings, i) <= setting->max);
	}
}

static void no_change(void *ctx, const struct setting *setting, bool taken)
{
	assert(!"a setting has changed on its way");
}

static void read_again(struct settings *settings)
{
	struct settings *again = settings_make();
	char *text, *wrong;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	write_all(file, settings);
	fclose(file);
	wrong = read_bytes(again, text, size);
	assert(!wrong);
	settings_adopt(settings, again, no_change, NULL);
	free(text);
	settings_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings *settings;
	char *wrong;

	if (size == 0 || size > 65536)
		return 0;
	settings = settings_make();
	wrong = read_bytes(settings, data, size);
	if (wrong) {
		unsigned line, column;
		int fields = sscanf(wrong, "file:%u:%u: ", &line, &column);

		assert(fields == 2 && line > 0 && column > 0);
	} else {
		read_again(settings);
	}
	free(wrong);
	settings_free(settings);
	return 0;
}
