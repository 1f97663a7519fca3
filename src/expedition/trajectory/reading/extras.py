"""Libraries that only some calls need."""

from __future__ import annotations

import importlib
from typing import Any

from expedition.errors import MissingLibraryError

EXTRA = "pip install 'pytest-expedition[analysis]'"


def library(name: str, call: str) -> Any:
    """Return the module `name`.

    Raises `MissingLibraryError`, which says what `call` was asked for and how to install the library.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingLibraryError(f"{call} needs {name}: {EXTRA} ({error})", name=name) from error
