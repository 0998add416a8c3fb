"""The package as pip installs it, without a network, and what it says of itself."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

import blotter
from blotter.testing import Recorder

PROGRAM = """
import blotter, tempfile
with tempfile.TemporaryDirectory() as folder:
    with blotter.Producer("kraken", journal=folder, slots=64, sender="none") as producer:
        print(blotter.__file__, blotter.__version__, producer.order(order_id="1"))
"""


class Installing(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="blotter-package-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_command(self, *command, **environment):
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def copy_package(self, to):
        ignore = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        shutil.copytree(support.TREE / "producer/python", to, ignore=ignore)

    def copy_schema(self, tree):
        """The package has its own copy of the schema's tables."""
        shutil.copytree(support.TREE / "schema", tree / "schema", ignore=shutil.ignore_patterns("sql"))

    def pip_install(self, package, **environment):
        """As the README says, into a folder of its own; then a program that has nothing but that."""
        target = self.folder / "target"
        pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", target, package]
        self.run_command(*pip, PIP_CONFIG_FILE="/dev/null", PIP_FIND_LINKS="", BLOTTER_BUILD="", **environment)
        said = self.run_command(sys.executable, "-c", PROGRAM, PYTHONPATH=str(target))
        self.assertEqual(said.split(), [str(target / "blotter/__init__.py"), blotter.__version__, "2"])
        for name in ("py.typed", "_core.pyi"):
            self.assertTrue((target / "blotter" / name).exists())

    def test_pip_installs_it_on_the_library_of_the_tree(self):
        tree = self.folder / "tree"
        self.copy_package(tree / "producer/python")
        self.copy_schema(tree)
        shutil.copy(support.TREE / "producer/blotter.h", tree / "producer/blotter.h")
        (tree / "build").mkdir()
        for name in ("libblotter.a", "blotter.pc"):
            shutil.copy(support.BUILD / name, tree / "build" / name)
        self.pip_install(tree / "producer/python", PKG_CONFIG_PATH="/nowhere")

    def test_pip_installs_it_on_an_installed_library(self):
        prefix = self.folder / "prefix"
        self.run_command("make", "-C", str(support.TREE), f"BUILD={support.BUILD}", f"prefix={prefix}", "install", MAKEFLAGS="")
        tree = self.folder / "tree"
        self.copy_package(tree / "producer/python")
        self.copy_schema(tree)
        self.pip_install(tree / "producer/python", PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
        self.compile_the_example(prefix)

    def compile_the_example(self, prefix):
        """minimal.c as it is, by the line in README, once the library is installed."""
        readme = (support.TREE / "README.md").read_text()
        line = re.search(r"`(cc strategy\.c .*?)`", readme)[1]
        shutil.copy(support.TREE / "producer/example/minimal.c", self.folder / "strategy.c")
        self.run_command("sh", "-c", f"cd {self.folder} && {line}", PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
        self.assertTrue((self.folder / "a.out").exists())

    def test_without_the_library_the_build_says_what_to_do(self):
        self.copy_package(self.folder / "alone")
        command = [sys.executable, "-W", "ignore", self.folder / "alone/setup.py", "build"]
        environment = os.environ | {"BLOTTER_BUILD": "", "PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": "/nowhere"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("make install", done.stderr)


class Describing(unittest.TestCase):
    def setUp(self):
        stub = ast.parse((support.PACKAGE / "blotter/_core.pyi").read_text())
        self.classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
        self.methods = {node.name: node for node in self.classes["Producer"].body if isinstance(node, ast.FunctionDef)}

    def test_the_types_have_every_field(self):
        for kind, fields in blotter.FIELDS.items():
            typed = getattr(blotter, f"{kind.capitalize()}Fields")
            self.assertEqual(list(typed.__annotations__), list(fields))

    def test_stats_have_every_counter(self):
        header = (support.TREE / "producer/blotter.h").read_text()
        counters = re.findall(r"X_?\(int64_t, (\w+),", header)
        self.assertGreater(len(counters), 10)
        self.assertEqual(list(blotter.Stats._fields)[: len(counters)], counters)
        with Recorder("kraken") as recorder:
            self.assertEqual(recorder.stats()._asdict()["accepted"], 0)

    def test_the_stubs_have_every_method_and_option(self):
        core = blotter.Producer.__mro__[1]
        public = {name for name in vars(core) if not name.startswith("__")} | {"__init__", "__enter__", "__exit__"}
        self.assertEqual(set(self.methods), public)
        options = {argument.arg for argument in self.methods["__init__"].args.kwonlyargs}
        for option in options:
            self.assertIn(option, blotter.Producer.__doc__)

    def test_everything_public_has_a_docstring(self):
        for name in blotter.__all__:
            value = getattr(blotter, name)
            if isinstance(value, type) and not isinstance(value, dict):
                self.assertGreater(len(value.__doc__ or ""), 40, name)
        for name in ("order", "trade", "flush", "stats", "events", "close", "committed", "sent", "listen", "flushed", "aclose", "bind", "cash"):
            method = getattr(blotter.Producer, name)
            self.assertGreater(len(method.__doc__), 40, name)
            inspect.signature(method)


if __name__ == "__main__":
    support.main()
