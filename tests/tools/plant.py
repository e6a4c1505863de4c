"""Plants bugs: one file edited, compiled in a scratch folder and linked in front of the libraries, so that nothing in the tree or the build changes."""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import shlex
import subprocess
import tempfile

from tree import ROOT

TIMEOUT = 1800


@dataclasses.dataclass(frozen=True)
class Edit:
    """What stands once in a file, and what stands there instead."""

    file: str
    old: str
    new: str

    def apply(self):
        """Returns (the text of the file with the edit, what went wrong)."""
        with open(os.path.join(ROOT, self.file), encoding="utf-8") as file:
            text = file.read()
        if text.count(self.old) != 1:
            return "", f"its text stands {text.count(self.old)} times in {self.file}"
        return text.replace(self.old, self.new), ""


class Scratch:
    """Compiles and links with one file exchanged, with the commands of a build."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        with open(os.path.join(self.build, "compile_commands.json"), encoding="utf-8") as file:
            self.compile = {os.path.relpath(os.path.join(row["directory"], row["file"]), ROOT): row["command"] for row in json.load(file)}

    def link_command(self, program):
        commands = subprocess.run(["ninja", "-C", self.build, "-t", "commands", program], check=True, capture_output=True, text=True).stdout
        return shlex.split(commands.strip().splitlines()[-1])

    def run(self, command, timeout=TIMEOUT):
        return subprocess.run(command, cwd=self.build, capture_output=True, text=True, timeout=timeout, errors="replace")

    def make(self, edit, program, folder):
        """Builds a program of the build with the edit. Returns (where it is, what went wrong)."""
        text, fault = edit.apply()
        if fault:
            return "", fault
        edited, wanted, made = (os.path.join(folder, name) for name in (os.path.basename(edit.file), "edited.o", "made"))
        with open(edited, "w", encoding="utf-8") as file:
            file.write(text)
        command = shlex.split(self.compile[edit.file])
        command[command.index("-o") + 1] = wanted
        command[command.index("-c") + 1] = edited
        command[command.index("-MF") + 1] = wanted + ".d"
        result = self.run([*command, "-Wno-error"])
        if result.returncode == 0:
            # A source of the program's own has its object among the words; one of a library is not taken from there.
            own = f"{program}.p/{os.path.basename(edit.file)}.o"
            command = [word for word in self.link_command(program) if not edit.file.startswith(os.path.dirname(program)) or word != own]
            # A shared library of the build is looked for beside the program, which is not where it was.
            command += sorted({f"-Wl,-rpath,{os.path.join(self.build, os.path.dirname(word))}" for word in command if ".so" in word and not os.path.isabs(word)})
            at = command.index("-o") + 1
            command[at : at + 1] = [made, wanted]
            result = self.run(command)
        return made, f"does not build:\n{result.stderr}{result.stdout}" if result.returncode else ""

    def run_planted(self, edit, command, timeout=TIMEOUT):
        """Runs a program of the build, made with the edit. Returns (how it ended, what went wrong)."""
        with tempfile.TemporaryDirectory(prefix="planted-") as folder:
            made, fault = self.make(edit, command[0], folder)
            if fault:
                return None, fault
            try:
                return self.run([made, *command[1:]], timeout), ""
            except subprocess.TimeoutExpired:
                return None, f"no result after {timeout} s"


def main(doc, folder, kind, items, few, table, find, add_options=lambda parser: None):
    """A program that plants the items of a list: options, the list in README.md of its folder, an item a core.

    `kind` names the option that chooses items; find(item, scratch, options) returns (as it should be, what there is to say).
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("build", nargs="?")
    parser.add_argument(f"--{kind}", dest="names", help="names, with commas; 'few' for the short list; all when left out")
    parser.add_argument("--table", action="store_true")
    add_options(parser)
    options = parser.parse_args()
    if options.table:
        print(table(), end="")
        return 0
    names = few if options.names == "few" else options.names.split(",") if options.names else [item.name for item in items]
    chosen = [item for item in items if item.name in names]
    unknown = sorted(set(names) - {item.name for item in items})
    if unknown:
        parser.error(f"no such {kind}: {', '.join(unknown)}")
    scratch = Scratch(options.build)
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
        failed = int(table() not in file.read())
    stale = [f"{item.name}: {fault}" for item in items if (fault := Edit(item.file, item.old, item.new).apply()[1])]
    if stale:
        parser.error("; ".join(stale))
    if failed:
        print("README.md does not hold the list: put the output of planted.py --table there")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for item, (found, what) in zip(chosen, pool.map(lambda item: find(item, scratch, options), chosen)):
            failed += not found
            print(f"{item.name:32}{what}", flush=True)
    print(f"{len(chosen) + 1 - failed} passed, {failed} failed")
    return int(failed > 0)
