#!/usr/bin/env python3
"""Checks that what the documents name is there: files, functions, commands, settings, headings.

documents.py            prints what is wrong, one line each; exit status 1 if anything is
                        (BUILD names the folder with the built program, default build)

It reads what stands in `code` and in links of the Markdown pages, and the two man pages.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import house

TREE = house.TREE
PROGRAM = TREE / os.environ.get("BUILD", "build") / "blotter"
PAGES = ("README.md", "CONTRIBUTING.md", "drainer/README.md", ".github/SECURITY.md", "tests/bench/RESULTS.md")
README_WORDS = 2500
SOURCES = (".c", ".h", ".sql", ".py", ".pyi")

CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FUNCTION = re.compile(r"([a-z_][a-z0-9_]*)\(\)")
PATH = re.compile(r"\.?[a-zA-Z0-9_.@-]+(?:/[a-zA-Z0-9_.@-]+)*/?")
ENDINGS = (".c", ".h", ".sql", ".lua", ".py", ".sh", ".md", ".conf", ".sample", ".service", ".acl", ".yml", ".pyi")
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")


def functions(name):
    """The functions that a file defines or declares."""
    text = (TREE / name).read_text(encoding="utf-8")
    if name.endswith(".sql"):
        return set(re.findall(r"FUNCTION (?:\w+\.)?(\w+)\(", text))
    if name.endswith((".py", ".pyi")):
        return set(re.findall(r"def (\w+)\(", text))
    # in the first column, alone or behind its type; or a method of a Python type
    found = re.findall(r"^(?:[A-Za-z_][\w \t*()]*[ *])?([a-z_]\w*)\(", text, re.M)
    return set(found) | set(re.findall(r'\{"(\w+)", ', text))


class Tree:
    """The names that the repository has."""

    def __init__(self):
        self.files = set(house.tracked(""))
        self.folders = {str(folder) for name in self.files for folder in Path(name).parents}
        self.base_names = {Path(name).name for name in self.files}
        self.functions_of = {name: functions(name) for name in self.files if name.endswith(SOURCES)}
        self.functions = set().union(*self.functions_of.values())

    def has_path(self, path):
        plain = path.rstrip("/")
        if "/" in plain:
            return plain in self.files or plain in self.folders
        return plain in self.base_names or plain in self.folders


def program_help(*arguments):
    return subprocess.run([PROGRAM, *arguments], check=True, capture_output=True, text=True).stdout


class Program:
    """The commands and flags that the program has."""

    def __init__(self):
        self.commands = re.findall(r"^  ([a-z]+)  ", program_help("help"), re.M)
        self.flags = {"help": set()}
        for command in self.commands:
            text = program_help("help", command).replace("--[no-]", "--")
            self.flags[command] = set(re.findall(r"^  --([a-z-]+)", text, re.M))
        self.all_flags = {flag for flags in self.flags.values() for flag in flags}
        # what takes no part in the table of settings
        self.all_flags |= {"help", "version"}


def slug(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def is_path(text):
    """Tells whether code names a file of the tree, rather than a command, a URL or a name of Redis."""
    if not PATH.fullmatch(text) or text.startswith("/"):
        return False
    first = text.split("/")[0]
    return text.endswith(ENDINGS) or ("/" in text and first in {"schema", "producer", "drainer", "deploy", "tests"})


def check_page(page, tree, program):
    text = (TREE / page).read_text(encoding="utf-8")
    folder = (TREE / page).parent
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{page}:{number}"
        for target in LINK.findall(line):
            path, _, heading = target.partition("#")
            if "://" in target:
                continue
            goal = (folder / path).resolve() if path else TREE / page
            if not goal.exists():
                yield f"{place}: links to {path}, which is not there"
            elif heading:
                headings = re.findall(r"^#+ (.+)$", goal.read_text(encoding="utf-8"), re.M)
                if heading not in map(slug, headings):
                    yield f"{place}: links to #{heading}, which {goal.name} has not"
        for function, file in re.findall(r"`(\w+)\(\)` \(`([^`]+)`\)", line):
            if function not in tree.functions_of.get(file, ()):
                yield f"{place}: {file} has no {function}()"
        for name, file in re.findall(r"`([A-Z][A-Z_]+)` of `([^`]+)`", line):
            if not re.search(rf"\b{name}\b", (TREE / file).read_text(encoding="utf-8") if (TREE / file).is_file() else ""):
                yield f"{place}: {file} has no {name}"
        for code in CODE.findall(line):
            function = FUNCTION.fullmatch(code)
            if function and function[1] not in tree.functions:
                yield f"{place}: names {code}, which no file defines"
            if is_path(code) and not tree.has_path(code) and not (folder / code).exists():
                yield f"{place}: names {code}, which is not there"
        for command in re.findall(r"(?:^    |`|sudo )blotter ([a-z]+)", line):
            if command not in program.commands:
                yield f"{place}: names blotter {command}, which is no command"
        for command, arguments in re.findall(r"(?:^ +|`)(?:blotter )?(\w+)((?: [^`#|]*)?)", line):
            for flag in FLAG.findall(arguments) if command in program.commands else ():
                if flag not in program.flags[command] | {"help"}:
                    yield f"{place}: blotter {command} has no --{flag}"


def check_manual(program):
    """blotter(1): every command has its paragraph, none has the same twice, and every flag that it names exists."""
    page = "drainer/blotter.1"
    text = (TREE / page).read_text(encoding="utf-8").replace("\\-", "-")
    commands = text.split(".SH COMMANDS")[1].split(".SH")[0]
    for command in program.commands:
        if not re.search(rf"^\.B\w* .*\b{command}\b", commands, re.M):
            yield f"{page}: has no paragraph about the command {command}"
    heads = re.findall(r"^\.TP\n(\.B.*)", commands, re.M)
    for head in sorted(set(heads)):
        if heads.count(head) > 1:
            yield f"{page}: has {heads.count(head)} paragraphs headed {head}"
    for flag in sorted(set(FLAG.findall(text))):
        if flag not in program.all_flags and flag != "flag":
            yield f"{page}: names --{flag}, which no command has"


def check_words():
    words = len((TREE / "README.md").read_text(encoding="utf-8").split())
    if words > README_WORDS:
        yield f"README.md: {words} words, at most {README_WORDS}"


def check_sample(program):
    sample = "deploy/blotter.conf.sample"
    if (TREE / sample).read_text(encoding="utf-8") != program_help("help", "--sample-config"):
        yield f"{sample}: is not what `blotter help --sample-config` prints"


def main():
    tree, program = Tree(), Program()
    found = [line for page in PAGES for line in check_page(page, tree, program)]
    found += [*check_manual(program), *check_words(), *check_sample(program)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
