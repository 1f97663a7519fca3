"""Exceptions of Expedition, each also a standard one, so that either may be caught.

::

    ExpeditionError
    ├── ExperimentError (ValueError)       an experiment, parameter, sweep or option is wrong; found before a run
    │   └── ExpressionError                a selection expression is wrong
    ├── UnstorableError (TypeError)        a value cannot be kept exactly
    ├── DamagedError (OSError)             a file of an archive cannot be read as what it should be
    │   └── TrajectoryFormatError          … a trajectory file
    ├── RecordNotFoundError (LookupError)  no such run, sweep, column or artifact
    │   ├── NameNotFoundError (KeyError, AttributeError)     no node of that name
    │   └── AmbiguousNameError (KeyError, AttributeError)    a name fits several nodes
    └── ArtifactError (ValueError)         a commit with a bad, escaping or taken name
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExpeditionError(Exception):
    """Root of all errors of this package."""


class ExperimentError(ExpeditionError, ValueError):
    """An experiment file, parameter, sweep or option is wrong; raised before anything runs."""


class ExpressionError(ExperimentError):
    """A selection expression cannot be parsed, or uses what the language does not have."""


class UnstorableError(ExpeditionError, TypeError):
    """A value that cannot be kept exactly was given to be stored."""


class DamagedError(ExpeditionError, OSError):
    """A file of an archive is not, or no longer, what its name says."""


class TrajectoryFormatError(DamagedError):
    """A trajectory file is damaged, foreign or of a newer format."""


class RecordNotFoundError(ExpeditionError, LookupError):
    """There is no run, sweep, column or artifact of that name."""


class _NameError(RecordNotFoundError, KeyError, AttributeError):
    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class NameNotFoundError(_NameError):
    """There is no node of that name."""


class AmbiguousNameError(_NameError):
    """A shortened name fits several nodes."""


class ArtifactError(ExpeditionError, ValueError):
    """A file was committed under a name that is taken, malformed or outside the run folder."""


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'a' or 'b'?)"`` for the known names closest to `name`, or ``""``."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not close:
        return ""
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)"
