// Completion for bash and zsh.
//
// The scripts ask mqpaasctl itself (__complete) for the next words, so completion never falls
// behind the table. It asks no server: names of topics and groups are not completed.

#include "ctl/complete.h"

#include "core/base/util.h"
#include "ctl/commands.h"
#include "ctl/global_options.h"
#include "ctl/local.h"

#include <stdio.h>

static const char bash_script[] =
	"_mqpaasctl() {\n"
	"	COMPREPLY=($(compgen -W \"$(mqpaasctl __complete "
	"\"${COMP_WORDS[@]:1:COMP_CWORD-1}\" 2>/dev/null)\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
	"}\n"
	"complete -o default -F _mqpaasctl mqpaasctl\n";

static const char zsh_script[] =
	"#compdef mqpaasctl\n"
	"_mqpaasctl() { compadd -- $(mqpaasctl __complete ${words[2,CURRENT-1]} 2>/dev/null) }\n"
	"compdef _mqpaasctl mqpaasctl\n";

int complete_script(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		fputs(bash_script, stdout);
	else if (strcmp(shell, "zsh") == 0)
		fputs(zsh_script, stdout);
	else
		return ctl_fail(CTL_USAGE, "no completion for \"%s\"; there is bash and zsh",
				shell);
	return 0;
}

static void options_print(const struct option *option)
{
	for (; option && option->name; ++option)
		printf("--%s\n", option->name);
}

static void nouns_print(void)
{
	const struct command *command;
	const char *last = "";

	for (size_t i = 0; (command = commands_at(i)); ++i) {
		if (strcmp(command->noun, last) != 0)
			puts(command->noun);
		last = command->noun;
	}
	for (const struct local *local = local_commands; local->name; ++local)
		puts(local->name);
}

static void verbs_print(const char *noun)
{
	const struct command *command;
	const struct local *local = local_find(noun);

	for (size_t i = 0; (command = commands_at(i)); ++i)
		if (strcmp(command->noun, noun) == 0)
			puts(command->verb);
	if (local && local->verbs)
		puts(local->verbs);
}

int complete_words(int count, char **words)
{
	const struct command *command = count >= 2 ? commands_find(words[0], words[1]) : NULL;
	const struct local *local = count >= 1 ? local_find(words[0]) : NULL;

	if (count == 0) {
		nouns_print();
	} else if (count == 1 && !(local && !local->verbs)) {
		verbs_print(words[0]);
	} else {
		options_print(command ? command->options : local ? local->options : NULL);
		options_print(global_options);
	}
	return 0;
}
