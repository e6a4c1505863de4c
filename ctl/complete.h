// Shell completion, made from the table of commands.
#pragma once

int complete_script(const char *shell);      // prints a script for "bash" or "zsh"
int complete_words(int count, char **words); // prints the words that may come next, one a line
