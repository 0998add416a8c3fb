#!/usr/bin/env python3
"""Measures the tree as STYLE does: files, functions, names, comments, columns, include circles.

house.py            prints a table beside the figures of codebases that we want to be counted among
house.py --check    prints what breaks the house rules, one line each; exit status 1 if anything does
house.py --names    lists the function names that stand in more than one file

The product is schema, producer and drainer; columns and circles are judged in the tests, too.
"""

import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
PRODUCT = ("schema/", "producer/", "drainer/")
COLUMNS = 100
NAMES_IN_TWO_FILES = 18  # pgbouncer's figure; ours may not be larger
WITHOUT_VERB = 5  # so many comments of functions may begin without a verb

# Measured in the same way on pgbouncer 13a344f2, tarantool/small 1af780b, redis/librdb 35f0f1a,
# hiredis 29ea279 and git's reftable; version 1 is commit 152f64c of this repository.
MODELS = {
    ".c lines median / p90 / max": (
        "195 / 544 / 614", "920 / 1838 / 2721", "143 / 481 / 589", "508 / 1293 / 2941",
        "713 / 1034 / 1229", "281 / 1322 / 1863"),
    "function lines median / p90 / max": (
        "10 / 20 / 49", "17 / 66 / 291", "8 / 27 / 89", "13 / 52 / 229", "12 / 49 / 236", "11 / 51 / 365"),
    "functions per 1,000 lines": ("59", "27", "29", "31", "30", "34"),
    "function names in more than one file": ("90", "18", "67", "2", "8", "0"),
    "name length, median": ("11", "16", "14", "15", "18", "21"),
    "comments that open with a clause, %": ("6.0", "0.1", "0.2", "0.3", "0.3", "0"),
    "lines over 100 columns, %": ("8.0", "0.6", "0", "3.0", "0.4", "0"),
    "README words": ("4245", "855", "579", "3230", "5243", "-"),
}  # fmt: skip
MODEL_NAMES = ("version 1", "pgbouncer", "small", "librdb", "hiredis", "reftable")

# Words that make the first clause of a comment its subject, or hide the subject.
CLAUSES = ("What", "Who", "Of", "Those", "Where", "That", "Whoever", "None", "Nothing", "Such")
# More of them, and questions, by which those codebases were not measured.
MORE_CLAUSES = ("How", "Why", "Which", "Whether")
QUESTION = re.compile(r"(Is|Are|Was|Were|Does|Do|Did|Has|Have|Can|May|Must)\b[^.?:]*\?")

# A comment in the first column, if the head of a function follows.
FUNCTION_COMMENT = re.compile(
    r"^/\*+\s*((?:(?!\*/).)*)\*/[ \t]*\n(?!typedef|extern|[#/}\n])(?:[^;{}=(\n]|\n(?!\n))*\b[a-z]\w*\s*\(", re.S | re.M)  # fmt: skip
VERB = re.compile(r"[A-Z][a-z]+s\b")  # in the third person, "Returns" ...
# ... if it is not one of these words, which end like one.
NO_VERBS = (
    "Always", "Columns", "Digits", "Entries", "Its", "Kinds", "Options", "Orders", "Others", "Redis", "Rows", "Rules",
    "Streams", "Texts", "This", "Words",
)  # fmt: skip

FUNCTION_NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
# A condition whose body does not begin with a brace: clang-format puts one body on the next line.
CONTROL = re.compile(r"^\s*(?:\} )?(?:else if|if|for|while) \(")


def walked():
    """The files of a tree without git, such as an unpacked archive."""
    for folder, folders, files in os.walk(TREE):
        folders[:] = [name for name in folders if not re.fullmatch(r"build.*|\.git|\.run|__pycache__|node_modules", name)]
        yield from (str((Path(folder) / name).relative_to(TREE)) for name in files)


def tracked(*endings):
    """The repository's files whose names end so."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=TREE, check=True, capture_output=True, text=True).stdout.splitlines()
    except (FileNotFoundError, subprocess.CalledProcessError):
        names = sorted(walked())
    return [name for name in names if name.endswith(endings) and (TREE / name).is_file()]


def text_of(name):
    return (TREE / name).read_text(encoding="utf-8")


def functions(text):
    """(name, lines) of each function: the brace of its body stands alone in the first column."""
    lines = text.split("\n")
    begin = None
    for number, line in enumerate(lines):
        if line == "{":
            begin = number
        elif line.startswith("}") and begin is not None:
            head = begin - 1
            while head > 0 and lines[head - 1].strip() and not lines[head - 1].startswith(("}", "#", "/", " *")):
                head -= 1
            declaration = " ".join(lines[head:begin])
            found = FUNCTION_NAME.search(re.sub(r"__attribute__\s*\(\(.*?\)\)\)?", "", declaration))
            if found:
                yield found[1], number - begin + 1
            begin = None


def comments(name, text):
    """(line number, text) of each comment in C; SQL's and Python's are those that begin a line."""
    if name.endswith((".c", ".h")):
        for found in re.finditer(r"/\*+\s*(.*?)\*/", text, re.S):
            yield text.count("\n", 0, found.start()) + 1, found[1].strip()
        return
    mark = "--" if name.endswith(".sql") else "#"
    before = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith(mark) and not before.startswith(mark) and not line.startswith("#!"):
            yield number, line.lstrip(mark + " ")
        before = line


def without_verb(text):
    """(line number, comment) of each function's comment that does not begin with what the function does."""
    for found in FUNCTION_COMMENT.finditer(text):
        comment = re.sub(r"^[\w./]+\.[ch]: ?", "", " ".join(found[1].replace("\n *", " ").split()))
        verb = VERB.match(comment)
        if not comment.startswith(("---", "clang-format")) and (verb is None or verb[0] in NO_VERBS):
            yield text.count("\n", 0, found.start()) + 1, comment


def opens_with(comment, words):
    # "rows.c: of ...": the file's name comes first
    return re.sub(r"^[\w./]+: ?", "", comment).split(" ", 1)[0].rstrip(",") in words


def circles(includes):
    """The groups of files of which each includes, by others, itself (Tarjan)."""
    index, low, on_stack, stack, groups = {}, {}, set(), [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in includes[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
                on_stack.discard(group[-1])
            if len(group) > 1:
                groups.append(sorted(group))

    for node in list(includes):
        if node not in index:
            visit(node)
    return groups


def module_includes(names):
    """Which module includes which: a module is a .c with its .h, so a.c -> b.h, b.c -> a.h is a circle."""
    modules = {name.rsplit(".", 1)[0] for name in names}
    includes = defaultdict(set)
    for name in names:
        own = name.rsplit(".", 1)[0]
        for target in INCLUDE.findall(text_of(name)):
            for path in (target, str(Path(name).parent / target)):
                module = path.rsplit(".", 1)[0]
                # intake_private.h is a part of intake: what it includes of it is no arrow
                part = own.startswith(module + "_") and own + ".c" not in names
                if module in modules and module != own and not part:
                    includes[own].add(module)
    return includes


def three(values):
    values = sorted(values)
    return f"{statistics.median(values):.0f} / {values[int(len(values) * 0.9)]} / {values[-1]}"


class House:
    def __init__(self):
        self.c_files = [name for name in tracked(".c") if name.startswith(PRODUCT) and "/example" not in name]
        self.product = [name for name in tracked(".c", ".h") if name.startswith(PRODUCT)]
        self.all_c = tracked(".c", ".h")
        self.lengths, self.names, self.lines = [], defaultdict(set), {}
        for name in self.c_files:
            text = text_of(name)
            self.lines[name] = text.count("\n")
            for function, length in functions(text):
                self.lengths.append(length)
                self.names[function].add(name)
        self.long_lines = []
        total = 0
        for name in self.all_c:
            for number, line in enumerate(text_of(name).split("\n"), 1):
                total += 1
                if len(line) > COLUMNS:
                    self.long_lines.append(f"{name}:{number}")
        self.long_share = 100 * len(self.long_lines) / total
        self.without_verb = [f"{name}:{number}: {comment[:70]}" for name in self.product
                             for number, comment in without_verb(text_of(name))]  # fmt: skip
        self.comment_count, self.clauses, self.more_clauses = 0, [], []
        for name in tracked(".c", ".h", ".sql", ".py", ".sh"):
            for number, comment in comments(name, text_of(name)):
                self.comment_count += 1
                place = f"{name}:{number}: {' '.join(comment.split())[:70]}"
                if opens_with(comment, CLAUSES):
                    self.clauses.append(place)
                elif opens_with(comment, MORE_CLAUSES) or QUESTION.match(comment):
                    self.more_clauses.append(place)

    def in_two_files(self):
        return {name: files for name, files in self.names.items() if len(files) > 1 and name != "main"}

    def bare_bodies(self):
        for name in self.all_c:
            lines = text_of(name).split("\n")
            for number, line in enumerate(lines):
                if not CONTROL.match(line):
                    continue
                depth, at = 0, number
                while at < len(lines):
                    depth += lines[at].count("(") - lines[at].count(")")
                    if depth <= 0:
                        break
                    at += 1
                end = re.sub(r"/\*.*?\*/|//.*", "", lines[at]).rstrip()
                empty = at + 1 < len(lines) and lines[at + 1].strip().startswith(";")
                if at < len(lines) and end.endswith(")") and not empty and not line.lstrip().startswith("} while"):
                    yield f"{name}:{number + 1}"

    def rows(self):
        yield ".c lines median / p90 / max", three(self.lines.values())
        yield "function lines median / p90 / max", three(self.lengths)
        yield "functions per 1,000 lines", f"{1000 * len(self.lengths) / sum(self.lines.values()):.0f}"
        yield "function names in more than one file", str(len(self.in_two_files()))
        yield "name length, median", f"{statistics.median(map(len, self.names)):.0f}"
        yield "comments that open with a clause, %", f"{100 * len(self.clauses) / self.comment_count:.1f}"
        yield "lines over 100 columns, %", f"{self.long_share:.1f}"
        yield "README words", str(len(text_of("README.md").split()))


def table():
    heads = ("", "now", *MODEL_NAMES)
    house = House()
    rows = [(what, now, *MODELS[what]) for what, now in house.rows()]
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if row is heads:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sizes = {part: sum(text_of(n).count("\n") for n in tracked(".c", ".h", ".sql", ".lua", ".py", ".pyi") if n.startswith(part))
             for part in PRODUCT}  # fmt: skip
    print(f"comments of functions that begin without a verb: {len(house.without_verb)}")
    print("lines: " + ", ".join(f"{part} {lines}" for part, lines in sizes.items()))


def check():
    house = House()
    found = [f"{place}: longer than {COLUMNS} columns" for place in house.long_lines]
    found += [f"{place}: a body without braces" for place in house.bare_bodies()]
    found += [f"{place} (put the subject first)" for place in house.clauses + house.more_clauses]
    if len(house.without_verb) > WITHOUT_VERB:
        found += [f"{place} (begin with a verb: Returns, Writes)" for place in house.without_verb]
    for group in circles(module_includes(house.all_c)):
        found.append(f"include each other: {', '.join(group)}")
    twice = house.in_two_files()
    if len(twice) > NAMES_IN_TWO_FILES:
        found += [f"{name}: in {', '.join(sorted(files))}" for name, files in sorted(twice.items())]
        found.append(f"{len(twice)} function names stand in more than one file; at most {NAMES_IN_TWO_FILES} may")
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            table()
        case ["--check"]:
            sys.exit(check())
        case ["--names"]:
            for name, files in sorted(House().in_two_files().items()):
                print(name, *sorted(files))
        case _:
            print(__doc__, file=sys.stderr)
            sys.exit(2)
