// settings: what a file and options may say, what is refused and how it is said, what a reload
// takes over, and the pages made of the table.

#include "core/base/settings.h"
#include "server/settings.h"
#include "tests/unit/unit.h"

enum { NAME, PEERS, MODE, FAST, COUNT, WAIT, ROOM, FIXED, ROWS };

static const struct setting table[ROWS] = {
	[NAME] = {"name", SETTING_TEXT, NULL, 0, 0, NULL, true, "a text"},
	[PEERS] = {"peers", SETTING_LIST, "first", 0, 0, NULL, true, "a list"},
	[MODE] = {"mode", SETTING_CHOICE, "slow", 0, 0, "slow|fast|fastest", true, "a choice"},
	[FAST] = {"fast-start", SETTING_FLAG, "no", 0, 0, NULL, true, "a flag"},
	[COUNT] = {"count", SETTING_COUNT, "10k", 1, 2000000, NULL, true, "a count"},
	[WAIT] = {"wait", SETTING_DURATION, "90s", 100, 3600000, NULL, true, "a duration"},
	[ROOM] = {"room", SETTING_SIZE, "64KiB", 1024, 1 << 20, NULL, true, "a size"},
	[FIXED] = {"fixed", SETTING_COUNT, "1", 0, 9, NULL, false, "cannot be changed"},
};

static struct settings *settings_make(void)
{
	struct settings *settings;

	CHECK_EQ(settings_new(table, ROWS, &settings), 0);
	return settings;
}

// What reading these bytes says, without the path in front; "" when all is well.
static const char *read_bytes(struct settings *settings, const void *bytes, size_t size)
{
	static char said[6000];
	char path[] = "/tmp/settings-XXXXXX", *wrong;
	int fd = mkstemp(path);

	CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	wrong = settings_read_file(settings, path);
	unlink(path);
	said[0] = '\0';
	if (wrong) {
		CHECK(strncmp(wrong, path, strlen(path)) == 0 && wrong[strlen(path)] == ':');
		snprintf(said, sizeof said, "%s", wrong + strlen(path) + 1);
	}
	free(wrong);
	return said;
}

static const char *read_text(struct settings *settings, const char *text)
{
	return read_bytes(settings, text, strlen(text));
}

// The same for settings of its own.
static const char *refusal(const char *text)
{
	struct settings *settings = settings_make();
	const char *said = read_text(settings, text);

	settings_free(settings);
	return said;
}

static void defaults_stand(void)
{
	struct settings *settings = settings_make();
	const char *const *peers;

	CHECK_STR(read_text(settings, "# only this\n\n   \t\n"), "");
	CHECK(settings_text(settings, NAME) == NULL);
	CHECK_EQ(settings_list(settings, PEERS, &peers), 1);
	CHECK_STR(peers[0], "first");
	CHECK_STR(settings_text(settings, MODE), "slow");
	CHECK(!settings_flag(settings, FAST));
	CHECK_EQ(settings_number(settings, COUNT), 10000);
	CHECK_EQ(settings_number(settings, WAIT), 90000);
	CHECK_EQ(settings_number(settings, ROOM), 65536);
	settings_free(settings);
}

static void a_file_is_read(void)
{
	struct settings *settings = settings_make();
	const char *const *peers;

	CHECK_STR(read_text(settings, "name = plain text # a comment\r\n"
				      "peers=a\n\tpeers =  \"b # \\\"c\\\" \\\\\" # another\n"
				      "mode = fastest\nfast-start = yes\n"
				      "count = 2M\nwait = 1h\nroom = 1MiB"),
		  "");
	CHECK_STR(settings_text(settings, NAME), "plain text");
	CHECK_EQ(settings_list(settings, PEERS, &peers), 2);
	CHECK_STR(peers[0], "a");
	CHECK_STR(peers[1], "b # \"c\" \\");
	CHECK_STR(settings_text(settings, MODE), "fastest");
	CHECK(settings_flag(settings, FAST));
	CHECK_EQ(settings_number(settings, COUNT), 2000000);
	CHECK_EQ(settings_number(settings, WAIT), 3600000);
	CHECK_EQ(settings_number(settings, ROOM), 1 << 20);
	settings_free(settings);
}

static void refusals_say_where_and_what(void)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"naem = x", "1:1: there is no setting \"naem\"; did you mean name?"},
		{"\n  zzzzzzzzzz = 1",
		 "2:3: there is no setting \"zzzzzzzzzz\"; mqpaasd --help lists those there are"},
		{"[section]", "1:10: expected name = value"},
		{"name value", "1:6: expected name = value"},
		{"= value", "1:1: expected name = value"},
		{"name = a\n\nname = b", "3:1: name is set on line 1 already"},
		{"name =", "1:7: name: the value is empty; leave the line out instead"},
		{"name = # nothing", "1:8: name: the value is empty; leave the line out instead"},
		{"mode = medium", "1:8: mode: \"medium\" is not one of slow|fast|fastest"},
		{"mode = fast|slow", "1:8: mode: \"fast|slow\" is not one of slow|fast|fastest"},
		{"fast-start = true", "1:14: fast-start: \"true\" is not yes or no"},
		{"count = -1", "1:9: count: \"-1\" is not a whole number such as 100, 10k or 2M"},
		{"count = 1.5", "1:9: count: \"1.5\" is not a whole number such as 100, 10k or 2M"},
		{"count = 99999999999999999999",
		 "1:9: count: \"99999999999999999999\" is not a whole number such as 100, 10k or "
		 "2M"},
		{"count = 18446744073709551615k",
		 "1:9: count: \"18446744073709551615k\" is not a whole number such as 100, 10k or "
		 "2M"},
		{"count = 0", "1:9: count: \"0\" is outside 1 to 2M"},
		{"wait = 2h", "1:8: wait: \"2h\" is outside 100ms to 1h"},
		{"wait = 10 s",
		 "1:8: wait: \"10 s\" is not a duration such as 500ms, 30s, 5m, 12h or 7d"},
		{"room = 1TiB", "1:8: room: \"1TiB\" is outside 1KiB to 1MiB"},
		{"name = \"open", "1:8: the quotation mark is not closed"},
		{"name = \"a\" b", "1:8: something stands behind the closing quotation mark"},
		{"name = a\x01z", "1:9: a control character: this is not text"},
		// Columns count characters, not bytes.
		{"\xc3\xa9\xc3\xa9 x", "1:4: expected name = value"},
		{"name = \xff", "1:1: the line is not UTF-8"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
		CHECK_STR(refusal(cases[i].text), cases[i].said);
}

static void odd_files_are_refused(void)
{
	struct settings *settings = settings_make();
	char *line = malloc(10000), *wrong;

	CHECK_STR(read_bytes(settings, "name = a\0b\n", 11), "1:9: a zero byte: this is not text");
	memset(line, 'x', 10000);
	CHECK_STR(read_bytes(settings, line, 10000), "1:1: the line is longer than 4095 bytes");
	free(line);
	wrong = settings_read_file(settings, "/nowhere/at/all");
	CHECK_STR(wrong, "/nowhere/at/all: No such file or directory");
	free(wrong);
	wrong = settings_read_file(settings, "/tmp");
	CHECK_STR(wrong, "/tmp: Is a directory");
	free(wrong);
	settings_free(settings);
}

static void a_list_has_an_end(void)
{
	struct settings *settings = settings_make();
	char text[65 * 10 + 1] = "";

	for (unsigned i = 0; i < 65; ++i)
		strcat(text, "peers = p\n");
	CHECK_STR(read_text(settings, text), "65:9: peers: more than 64");
	settings_free(settings);
}

static void option_ok(struct settings *settings, const char *name, const char *value)
{
	char *wrong = settings_set_option(settings, name, value);

	CHECK(wrong == NULL);
}

static void options_win(void)
{
	struct settings *settings = settings_make();
	const char *const *peers;
	char *wrong;

	option_ok(settings, "count", "7");
	option_ok(settings, "peers", "x");
	option_ok(settings, "peers", "y");
	CHECK_STR(read_text(settings, "count = 8\npeers = a\nmode = fast\n"), "");
	CHECK_EQ(settings_number(settings, COUNT), 7);
	CHECK_STR(settings_text(settings, MODE), "fast");
	CHECK_EQ(settings_list(settings, PEERS, &peers), 2);
	CHECK_STR(peers[1], "y");
	// What an option hides is checked all the same.
	CHECK_STR(read_text(settings, "wait = 1\n"), "1:8: wait: \"1\" is outside 100ms to 1h");
	wrong = settings_set_option(settings, "cuont", "1");
	CHECK_STR(wrong, "there is no setting \"cuont\"; did you mean count?");
	free(wrong);
	CHECK(settings_is_flag(settings, "fast-start") && !settings_is_flag(settings, "count"));
	settings_free(settings);
}

static void note_change(void *ctx, const struct setting *setting, bool taken)
{
	char *said = ctx;

	strcat(said, setting->name);
	strcat(said, taken ? "+ " : "- ");
}

static void reload_takes_what_it_may(void)
{
	struct settings *now = settings_make(), *next = settings_make();
	char said[200] = "";

	CHECK_STR(read_text(now, "name = old\ncount = 5\nfixed = 2\npeers = a\n"), "");
	CHECK_STR(read_text(next, "name = new\ncount = 5\nfixed = 3\npeers = a\npeers = b\n"), "");
	settings_adopt(now, next, note_change, said);
	CHECK_STR(said, "name+ peers+ fixed- ");
	CHECK_STR(settings_text(now, NAME), "new");
	CHECK_EQ(settings_number(now, FIXED), 2);
	settings_free(next);
	CHECK_STR(settings_text(now, NAME), "new"); // it is not the other's any more
	said[0] = '\0';
	next = settings_make();
	settings_adopt(now, next, note_change, said); // back to the defaults
	CHECK_STR(said, "name+ peers+ count+ fixed- ");
	CHECK(settings_text(now, NAME) == NULL);
	settings_free(next);
	settings_free(now);
}

static void units_round_trip(void)
{
	static const struct {
		enum units units;
		uint64_t value;
		const char *text;
	} cases[] = {
		{UNITS_COUNT, 0, "0"},
		{UNITS_COUNT, 1500, "1500"},
		{UNITS_COUNT, 2000, "2k"},
		{UNITS_COUNT, 3000000000, "3G"},
		{UNITS_DURATION, 1, "1ms"},
		{UNITS_DURATION, 90000, "90s"},
		{UNITS_DURATION, 86400000, "1d"},
		{UNITS_SIZE, 1023, "1023B"},
		{UNITS_SIZE, 3 << 20, "3MiB"},
		{UNITS_SIZE, 5000, "5KB"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		char text[UNITS_TEXT_MAX];
		uint64_t value;

		units_format(cases[i].units, cases[i].value, text);
		CHECK_STR(text, cases[i].text);
		CHECK_EQ(units_parse(cases[i].units, text, &value), 0);
		CHECK_EQ(value, cases[i].value);
	}
}

static char *printed(void (*print)(const struct settings *settings, FILE *file),
		     const struct settings *settings)
{
	char *text;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	print(settings, file);
	fclose(file);
	return text;
}

static void pages_come_from_the_table(void)
{
	struct settings *settings = settings_make();
	char *help = printed(settings_print_help, settings),
	     *page = printed(settings_print_page, settings);

	CHECK(strstr(help, "--wait ") && strstr(help, "a duration [90s]\n"));
	CHECK(strstr(page, "| `mode` | slow, fast, fastest | slow |  | yes | a choice |\n"));
	CHECK(strstr(page, "| `wait` | duration | 90s | 100ms to 1h | yes | a duration |\n"));
	CHECK(strstr(page, "| `fixed` | number | 1 | 0 to 9 | restart | cannot be changed |\n"));
	free(help);
	free(page);
	settings_free(settings);
}

// Every default of the daemon's own table passes its own checks; every number has a range.
static void the_daemons_table_is_right(void)
{
	struct settings *settings;

	CHECK_EQ(settings_new(server_settings, SERVER_SETTING_COUNT, &settings), 0);
	for (size_t i = 0; i < SERVER_SETTING_COUNT; ++i) {
		const struct setting *setting = &server_settings[i];

		CHECK(*setting->sentence &&
		      setting->sentence[strlen(setting->sentence) - 1] != '.');
		if (setting->standard)
			option_ok(settings, setting->name, setting->standard);
		if (setting->type >= SETTING_COUNT)
			CHECK(setting->max > setting->min);
		CHECK((setting->type == SETTING_CHOICE) == (setting->choices != NULL));
	}
	settings_free(settings);
}

UNIT_MAIN(UNIT_CASE(defaults_stand), UNIT_CASE(a_file_is_read),
	  UNIT_CASE(refusals_say_where_and_what), UNIT_CASE(odd_files_are_refused),
	  UNIT_CASE(a_list_has_an_end), UNIT_CASE(options_win), UNIT_CASE(reload_takes_what_it_may),
	  UNIT_CASE(units_round_trip), UNIT_CASE(pages_come_from_the_table),
	  UNIT_CASE(the_daemons_table_is_right))
