// Settings by a table: read from the command line and a file, checked, printed as a page.
//
// Values are kept as checked texts. Numbers are parsed again at each query, which happens at start
// and reload only. A problem is reported with its line and column, and an unknown name with the
// nearest known one.
//
// Invariants: an option of the command line wins over the file; a file sets each name once, except
// lists. Texts of problems are the caller's to free. Not here: the meaning of a setting, and values
// that a reload changed in running parts (settings_adopt()'s callback).

#include "core/base/settings.h"

#include "core/base/text.h"
#include "core/base/utf8.h"

#include <errno.h>

#define LIST_MAX  64u
#define LINE_MAX  4096u
#define RANGE_MAX (2 * UNITS_TEXT_MAX + 4)

struct value {
	char *text;
	char *items[LIST_MAX];
	size_t count;
	bool from_option;
	unsigned line; // where a file set it; 0: not yet
};

struct settings {
	const struct setting *table;
	size_t count;
	struct value *values;
};

int settings_new(const struct setting *table, size_t count, struct settings **ret)
{
	struct settings *settings = calloc(1, sizeof *settings);

	if (settings)
		settings->values = calloc(count, sizeof *settings->values);
	if (!settings || !settings->values) {
		free(settings);
		return -ENOMEM;
	}
	settings->table = table;
	settings->count = count;
	*ret = settings;
	return 0;
}

static void value_clear(struct value *value)
{
	for (size_t i = 0; i < value->count; ++i)
		free(value->items[i]);
	free(value->text);
	*value = (struct value){0};
}

void settings_free(struct settings *settings)
{
	if (!settings)
		return;
	for (size_t i = 0; i < settings->count; ++i)
		value_clear(&settings->values[i]);
	free(settings->values);
	free(settings);
}

// ---- checking a value

static enum units units_of(enum setting_type type)
{
	return type == SETTING_DURATION ? UNITS_DURATION
	       : type == SETTING_SIZE   ? UNITS_SIZE
					: UNITS_COUNT;
}

static bool choice_known(const char *choices, const char *text)
{
	size_t size = strlen(text);

	for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (size && strncmp(at, text, size) == 0 && (at[size] == '|' || at[size] == '\0'))
			return true;
	return false;
}

static void range_format(const struct setting *setting, char room[RANGE_MAX])
{
	char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];

	units_format(units_of(setting->type), setting->min, min);
	units_format(units_of(setting->type), setting->max, max);
	snprintf(room, RANGE_MAX, "%s to %s", min, max);
}

static char *number_check(const struct setting *setting, const char *text)
{
	char range[RANGE_MAX];
	uint64_t number;

	if (units_parse(units_of(setting->type), text, &number) < 0)
		return text_format("%s: \"%s\" is not %s", setting->name, text,
				   units_example(units_of(setting->type)));
	if (number < setting->min || number > setting->max) {
		range_format(setting, range);
		return text_format("%s: \"%s\" is outside %s", setting->name, text, range);
	}
	return NULL;
}

static char *value_check(const struct setting *setting, const char *text)
{
	switch (setting->type) {
	case SETTING_TEXT:
	case SETTING_LIST:
		return *text ? NULL
			     : text_format("%s: the value is empty; leave the line out instead",
					   setting->name);
	case SETTING_CHOICE:
		return choice_known(setting->choices, text)
			       ? NULL
			       : text_format("%s: \"%s\" is not one of %s", setting->name, text,
					     setting->choices);
	case SETTING_FLAG:
		return strcmp(text, "yes") == 0 || strcmp(text, "no") == 0
			       ? NULL
			       : text_format("%s: \"%s\" is not yes or no", setting->name, text);
	default: return number_check(setting, text);
	}
}

// ---- names

// Levenshtein's distance with one row of the matrix: row[j] is the distance of a's first i
// characters to b's first j. Names are cut at 63 characters.
static size_t measure_distance(const char *a, const char *b)
{
	size_t row[64], size = MIN(strlen(b), ARRAY_SIZE(row) - 1);

	for (size_t j = 0; j <= size; ++j)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; ++i) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= size; ++j) {
			size_t above = row[j];

			row[j] =
				MIN(MIN(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[size];
}

static const struct setting *setting_find(const struct settings *settings, const char *name)
{
	for (size_t i = 0; i < settings->count; ++i)
		if (strcmp(settings->table[i].name, name) == 0)
			return &settings->table[i];
	return NULL;
}

static char *describe_unknown(const struct settings *settings, const char *name)
{
	const char *best = NULL;
	size_t best_distance = 4;

	for (size_t i = 0; i < settings->count; ++i) {
		size_t d = measure_distance(name, settings->table[i].name);

		if (d < best_distance) {
			best_distance = d;
			best = settings->table[i].name;
		}
	}
	if (best)
		return text_format("there is no setting \"%s\"; did you mean %s?", name, best);
	return text_format("there is no setting \"%s\"; mqpaasd --help lists those there are",
			   name);
}

static char *value_put(struct value *value, const struct setting *setting, const char *text)
{
	char **place = &value->text;

	if (setting->type == SETTING_LIST && value->count == LIST_MAX)
		return text_format("%s: more than %u", setting->name, LIST_MAX);
	if (setting->type == SETTING_LIST)
		place = &value->items[value->count++];
	free(*place);
	*place = strdup(text);
	return *place ? NULL : text_format("%s: no memory", setting->name);
}

char *settings_set_option(struct settings *settings, const char *name, const char *value)
{
	const struct setting *setting = setting_find(settings, name);
	struct value *place;
	char *wrong;

	if (!setting)
		return describe_unknown(settings, name);
	wrong = value_check(setting, value);
	if (wrong)
		return wrong;
	place = &settings->values[setting - settings->table];
	if (!place->from_option)
		value_clear(place);
	place->from_option = true;
	return value_put(place, setting, value);
}

bool settings_is_flag(const struct settings *settings, const char *name)
{
	const struct setting *setting = setting_find(settings, name);

	return setting && setting->type == SETTING_FLAG;
}

// ---- files

struct place {
	const char *path;
	const char *text; // of the line
	unsigned line;
};

static char *locate_problem(const struct place *place, size_t column, char *wrong)
{
	size_t characters = 1;
	char *text;

	for (size_t i = 0; i < column; ++i)
		characters += (place->text[i] & 0xC0) != 0x80; // not a byte inside a character
	text = text_format("%s:%u:%zu: %s", place->path, place->line, characters, wrong);
	free(wrong);
	return text;
}

// What follows is a comment: # at the start of a value or behind a blank.
static const char *comment_find(const char *from)
{
	const char *at = from;

	while ((at = strchr(at, '#')) && at != from && at[-1] != ' ' && at[-1] != '\t')
		++at;
	return at ? at : from + strlen(from);
}

// Takes a value from `from` on into `room`: quoted, or up to a comment or the end of the line.
// NULL: fine.
static char *value_take(const char *from, char *room)
{
	const char *in = from;
	char *to = room;

	if (*in != '"') {
		const char *end = comment_find(from);

		while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
			--end;
		memcpy(room, from, (size_t)(end - from));
		room[end - from] = '\0';
		return NULL;
	}
	for (++in; *in && *in != '"'; ++in) {
		if (*in == '\\' && (in[1] == '"' || in[1] == '\\'))
			++in;
		*to++ = *in;
	}
	*to = '\0';
	if (*in != '"')
		return text_format("the quotation mark is not closed");
	in += 1 + strspn(in + 1, " \t");
	return *in == '\0' || *in == '#'
		       ? NULL
		       : text_format("something stands behind the closing quotation mark");
}

// A value of the file is checked even if an option wins over it, so that a wrong line never stays
// hidden.
static char *line_read(struct settings *settings, const struct place *place)
{
	const char *line = place->text;
	size_t begin = strspn(line, " \t"), name_size = strcspn(line + begin, " \t=#"), column;
	char name[64], text[LINE_MAX], *wrong;
	const struct setting *setting;
	struct value *value;

	if (line[begin] == '\0' || line[begin] == '#')
		return NULL;
	snprintf(name, sizeof name, "%.*s", (int)name_size, line + begin);
	column = begin + name_size + strspn(line + begin + name_size, " \t");
	if (name_size == 0 || line[column] != '=')
		return locate_problem(place, column, text_format("expected name = value"));
	column += 1 + strspn(line + column + 1, " \t");
	setting = setting_find(settings, name);
	if (!setting)
		return locate_problem(place, begin, describe_unknown(settings, name));
	value = &settings->values[setting - settings->table];
	if (value->line && setting->type != SETTING_LIST)
		return locate_problem(
			place, begin,
			text_format("%s is set on line %u already", name, value->line));
	wrong = value_take(line + column, text);
	if (!wrong)
		wrong = value_check(setting, text);
	if (!wrong && !value->from_option)
		wrong = value_put(value, setting, text);
	if (wrong)
		return locate_problem(place, column, wrong);
	value->line = place->line;
	return NULL;
}

// Text without control characters; NULL: it is.
static char *line_check(const struct place *place, size_t size)
{
	size_t control = 0;

	if (size != strlen(place->text))
		return locate_problem(place, strlen(place->text),
				      text_format("a zero byte: this is not text"));
	if (size >= LINE_MAX)
		return locate_problem(
			place, 0, text_format("the line is longer than %u bytes", LINE_MAX - 1));
	if (!utf8_valid(place->text, size))
		return locate_problem(place, 0, text_format("the line is not UTF-8"));
	while (control < size &&
	       ((unsigned char)place->text[control] >= ' ' || place->text[control] == '\t'))
		++control;
	return control < size ? locate_problem(place, control,
					       text_format("a control character: this is not text"))
			      : NULL;
}

char *settings_read(struct settings *settings, FILE *file, const char *path)
{
	struct place place = {.path = path};
	_cleanup_(freep) char *line = NULL;
	char *wrong = NULL;
	size_t room = 0;
	ssize_t size;

	while (!wrong && (size = getline(&line, &room, file)) >= 0) {
		if (size > 0 && line[size - 1] == '\n')
			line[--size] = '\0';
		if (size > 0 && line[size - 1] == '\r')
			line[--size] = '\0';
		place.text = line;
		++place.line;
		wrong = line_check(&place, (size_t)size);
		if (!wrong)
			wrong = line_read(settings, &place);
	}
	return !wrong && ferror(file) ? text_format("%s: %s", path, strerror(errno)) : wrong;
}

char *settings_read_file(struct settings *settings, const char *path)
{
	FILE *file = fopen(path, "re");
	char *wrong;

	if (!file)
		return text_format("%s: %s", path, strerror(errno));
	wrong = settings_read(settings, file, path);
	fclose(file);
	return wrong;
}

// ---- values

const char *settings_text(const struct settings *settings, size_t index)
{
	const char *text = settings->values[index].text;

	return text ? text : settings->table[index].standard;
}

uint64_t settings_number(const struct settings *settings, size_t index)
{
	const char *text = settings_text(settings, index);
	uint64_t number = 0;

	if (text && units_parse(units_of(settings->table[index].type), text, &number) < 0)
		assert(!"a default of the table is wrong");
	return number;
}

bool settings_flag(const struct settings *settings, size_t index)
{
	const char *text = settings_text(settings, index);

	return text && strcmp(text, "yes") == 0;
}

size_t settings_list(const struct settings *settings, size_t index, const char *const **ret)
{
	const struct value *value = &settings->values[index];

	if (value->count || !settings->table[index].standard) {
		*ret = (const char *const *)(void *)value->items;
		return value->count;
	}
	*ret = &settings->table[index].standard;
	return 1;
}

static bool value_equal(const struct settings *a, const struct settings *b, size_t index)
{
	const char *const *items_a, *const *items_b;
	const char *text_a = settings_text(a, index), *text_b = settings_text(b, index);
	size_t count;

	if (a->table[index].type != SETTING_LIST)
		return text_a == text_b || (text_a && text_b && strcmp(text_a, text_b) == 0);
	count = settings_list(a, index, &items_a);
	if (count != settings_list(b, index, &items_b))
		return false;
	for (size_t i = 0; i < count; ++i)
		if (strcmp(items_a[i], items_b[i]) != 0)
			return false;
	return true;
}

// Values that can change at run time are swapped, so the old ones are freed with `next`. The others
// stay, and the callback reports that they need a restart.
void settings_adopt(struct settings *now, struct settings *next, settings_change_fn fn, void *ctx)
{
	for (size_t i = 0; i < now->count; ++i) {
		struct value old = now->values[i];

		if (value_equal(now, next, i))
			continue;
		if (now->table[i].reload) {
			now->values[i] = next->values[i];
			next->values[i] = old;
		}
		fn(ctx, &now->table[i], now->table[i].reload);
	}
}

// ---- pages

static const char *type_name(const struct setting *setting)
{
	static const char *const names[] = {
		[SETTING_TEXT] = "text",    [SETTING_LIST] = "text, list",
		[SETTING_CHOICE] = NULL,    [SETTING_FLAG] = "yes|no",
		[SETTING_COUNT] = "number", [SETTING_DURATION] = "duration",
		[SETTING_SIZE] = "size",
	};

	return setting->choices ? setting->choices : names[setting->type];
}

void settings_print_help(const struct settings *settings, FILE *file)
{
	for (size_t i = 0; i < settings->count; ++i) {
		const struct setting *setting = &settings->table[i];

		fprintf(file, "  --%-26s %s", setting->name, setting->sentence);
		if (setting->standard)
			fprintf(file, " [%s]", setting->standard);
		fputc('\n', file);
	}
}

void settings_print_page(const struct settings *settings, FILE *file)
{
	fputs("| setting | type | default | range | reload | what it does "
	      "|\n|---|---|---|---|---|---|\n",
	      file);
	for (size_t i = 0; i < settings->count; ++i) {
		const struct setting *setting = &settings->table[i];
		char range[RANGE_MAX];

		fprintf(file, "| `%s` | ", setting->name);
		for (const char *c = type_name(setting); *c; ++c)
			fputs(*c == '|' ? ", " : (char[]){*c, '\0'}, file);
		fprintf(file, " | %s | ", setting->standard ? setting->standard : "");
		if (setting->type >= SETTING_COUNT) {
			range_format(setting, range);
			fputs(range, file);
		}
		fprintf(file, " | %s | %s |\n", setting->reload ? "yes" : "restart",
			setting->sentence);
	}
}
