"""Builds blotter._core, on the libblotter of this source tree if it has been made, else on the one that is installed.

BLOTTER_BUILD names the folder where `make` has left libblotter.a, if it is not build/ at the top of the tree.
Not built for the limited API: that made a call take 14 % longer, and would leave copies of non-ASCII text with its strs.
The rest is in pyproject.toml.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup

if sys.version_info < (3, 11):  # an old pip does not look at requires-python first
    sys.exit("blotter needs Python 3.11 or newer, and this is %d.%d" % sys.version_info[:2])

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent


def pkg_config(*arguments, path=None):
    environment = dict(os.environ, PKG_CONFIG_PATH=str(path)) if path else None
    program = os.environ.get("PKG_CONFIG", "pkg-config")
    return shlex.split(subprocess.check_output([program, *arguments], env=environment, text=True))


def in_tree():
    """The libblotter of this tree, linked into the extension: nothing else has to be found when it is imported."""
    build = Path(os.environ.get("BLOTTER_BUILD") or TREE / "build").resolve()
    library = build / "libblotter.a"
    if not library.exists():
        return None
    needs = pkg_config("--print-requires-private", "blotter", path=build)
    return dict(
        include_dirs=[str(TREE / "producer"), str(TREE)],
        extra_objects=[str(library)],
        extra_link_args=pkg_config("--libs", *needs) + ["-lpthread", "-Wl,--exclude-libs,ALL"],
        depends=[str(library), *headers()],
    )


def installed():
    try:
        folder = pkg_config("--variable=libdir", "blotter")[0]
        flags, libraries = pkg_config("--cflags", "blotter"), pkg_config("--libs", "blotter")
    except (OSError, subprocess.CalledProcessError):
        sys.exit("libblotter is neither built in this tree (make) nor installed (make install; pkg-config must find it)")
    return dict(
        extra_compile_args=flags,
        extra_link_args=[*libraries, f"-Wl,-rpath,{folder}"],
        depends=headers(),
    )


def headers():
    found = [*HERE.glob("src/*.h"), TREE / "producer/blotter.h", *TREE.glob("schema/*.h")]
    return [str(header) for header in found if header.exists()]


def version(options):
    """The library's."""
    command = [os.environ.get("CC", "cc"), "-E", "-dM", "-include", "blotter.h", "-x", "c", "/dev/null"]
    command += [f"-I{folder}" for folder in options.get("include_dirs", [])] + options.get("extra_compile_args", [])
    text = subprocess.check_output([*shlex.split(command[0]), *command[1:]], text=True)
    return re.search(r'#define BLOTTER_VERSION "(.+)"', text)[1]


options = in_tree() or installed()
library_version = version(options)
# The extension has its own copy of the schema's tables and codec: libblotter exports blotter_* only.
sources = [*sorted(HERE.glob("src/*.c")), *sorted(TREE.glob("schema/*.c"))]
options.setdefault("include_dirs", []).append(str(TREE))
options["extra_compile_args"] = options.get("extra_compile_args", []) + ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden"]
os.chdir(HERE)
setup(
    version=library_version,
    ext_modules=[Extension("blotter._core", sources=[os.path.relpath(source, HERE) for source in sources], **options)],
)
