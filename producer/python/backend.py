"""What pip builds the package with: setuptools, and the one that is installed rather than one from the network.

pip hides what is installed from a build, and fetches what pyproject.toml requires. So that requires nothing, here the installed ones
are looked up where they are, and pip is asked to fetch only what is not there.
"""

import importlib.util
import site
import sys

NEEDED = {"setuptools": "setuptools>=61", "wheel": "wheel"}

for folder in site.getsitepackages([sys.prefix, sys.base_prefix]):
    if folder not in sys.path:
        sys.path.append(folder)


def get_requires_for_build_wheel(config_settings=None):
    return [wanted for module, wanted in NEEDED.items() if importlib.util.find_spec(module) is None]


get_requires_for_build_sdist = get_requires_for_build_editable = get_requires_for_build_wheel


def __getattr__(hook):
    """The other hooks, when setuptools is there."""
    from setuptools import build_meta

    return getattr(build_meta, hook)
