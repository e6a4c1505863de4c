// The daemon's files: the lock, secrets and writing whole.

#include "server/files.h"
#include "tests/unit/unit.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static char directory[64];

static const char *path_of(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

static void write_plain(const char *name, const char *text, mode_t mode)
{
	FILE *file = fopen(path_of(name), "w");

	CHECK(file != NULL);
	fputs(text, file);
	fclose(file);
	CHECK_EQ(chmod(path_of(name), mode), 0);
}

static mode_t mode_of(const char *name)
{
	struct stat stat_buffer;

	CHECK_EQ(stat(path_of(name), &stat_buffer), 0);
	return stat_buffer.st_mode & 0777;
}

static void lock_is_exclusive(void)
{
	char nested[100], *wrong, expected[200];
	int fd, other = -1;

	snprintf(nested, sizeof nested, "%s/a/b", directory);
	CHECK(files_lock(nested, &fd) == NULL);
	wrong = files_lock(nested, &other);
	snprintf(expected, sizeof expected,
		 "data directory %s is in use by process %d; stop it, or choose another with "
		 "--data-dir",
		 nested, (int)getpid());
	CHECK_STR(wrong, expected);
	CHECK_EQ(other, -1);
	free(wrong);
	close(fd);
	CHECK(files_lock(nested, &fd) == NULL);
	close(fd);
	write_plain("file", "", 0600);
	wrong = files_lock(path_of("file"), &fd);
	CHECK(wrong && strstr(wrong, "Not a directory"));
	free(wrong);
}

static void secrets_are_made_once(void)
{
	uint8_t first[FILES_SECRET_SIZE], second[FILES_SECRET_SIZE];

	CHECK(files_secret(directory, "key", NULL, first) == NULL);
	CHECK_EQ(mode_of("key"), 0600);
	CHECK(files_secret(directory, "key", "all is lost", second) == NULL);
	CHECK(memcmp(first, second, sizeof first) == 0);
	CHECK(files_secret(directory, "key2", NULL, second) == NULL);
	CHECK(memcmp(first, second, sizeof first) != 0);
	CHECK(!files_exist(directory, "key.new") && files_exist(directory, "key"));
}

static void secret_refused(const char *name, const char *needed, const char *why)
{
	uint8_t secret[FILES_SECRET_SIZE];
	char *wrong = files_secret(directory, name, needed, secret);

	CHECK(wrong && strstr(wrong, why) && strstr(wrong, path_of(name)));
	free(wrong);
}

static void bad_secrets_are_refused(void)
{
	static const char hex[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char wrong_digit[sizeof hex];

	secret_refused("absent", "all is lost", "is missing; without it all is lost");
	CHECK(!files_exist(directory, "absent"));
	write_plain("open", hex, 0644);
	secret_refused("open", NULL, "can be read by others; make it private: chmod 600");
	write_plain("short", "0123", 0600);
	secret_refused("short", NULL, "does not hold 64 hexadecimal digits");
	memcpy(wrong_digit, hex, sizeof hex);
	wrong_digit[10] = ' ';
	write_plain("digit", wrong_digit, 0600);
	secret_refused("digit", NULL, "does not hold 64 hexadecimal digits");
}

static void files_are_written_whole(void)
{
	char *wrong, text[32];
	FILE *file;

	write_plain("file.new", "a left-over with another mode", 0666);
	CHECK(files_write(path_of("file"), "text\n", 0644) == NULL);
	CHECK_EQ(mode_of("file"), 0644);
	file = fopen(path_of("file"), "r");
	CHECK(file && fgets(text, sizeof text, file));
	CHECK_STR(text, "text\n");
	fclose(file);
	wrong = files_write(path_of("none/file"), "text", 0600);
	CHECK(wrong && strstr(wrong, "none/file: No such file or directory"));
	free(wrong);
}

static void make_directory(void)
{
	unit_directory(directory);
}

static int remove_one(const char *path, const struct stat *stat_buffer, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_directory(void)
{
	CHECK_EQ(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

UNIT_MAIN(UNIT_CASE(make_directory), UNIT_CASE(lock_is_exclusive), UNIT_CASE(secrets_are_made_once),
	  UNIT_CASE(bad_secrets_are_refused), UNIT_CASE(files_are_written_whole),
	  UNIT_CASE(remove_directory))
