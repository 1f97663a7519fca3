"""Exceptions of Expedition, each also a standard one, so that either may be caught.

::

    ExpeditionError
    ├── ExperimentError (ValueError)       an experiment, parameter, sweep or option is wrong; found before a run
    │   └── ExpressionError                a selection expression is wrong
    ├── RunFailedError (RuntimeError)      runs that were started from a program did not end well
    ├── CodecError (ValueError)            a codec is malformed, or its name or class has another one
    │   └── UndecodedError (AttributeError)    a value was used whose codec is not there
    ├── UnstorableError (TypeError)        a value cannot be kept exactly
    ├── DamagedError (OSError)             a file of an archive cannot be read as what it should be
    │   └── TrajectoryFormatError          … a trajectory file
    ├── RecordNotFoundError (LookupError)  no such run, sweep, column or artifact
    │   ├── AmbiguousRunError                                several runs go by that name
    │   ├── NameNotFoundError (KeyError, AttributeError)     no node of that name
    │   ├── AmbiguousNameError (KeyError, AttributeError)    a name fits several nodes
    │   ├── SelectionError (IndexError)                      no run of that number, or an index that does not fit
    │   ├── FolderNotFoundError (FileNotFoundError)          no folder to write a file to
    │   └── CacheEntryNotFoundError (FileNotFoundError)      nothing was saved in the cache under that name
    ├── ReadOnlyError (AttributeError)   something was to be assigned to a trajectory, which is only read
    ├── ClosedError (ValueError)           a trajectory was closed, and is asked for data
    ├── MissingLibraryError (ImportError)  a library of an extra is not installed
    ├── MergeError (ValueError)            trajectories do not fit together
    ├── OutputExistsError (FileExistsError)    a file would have been replaced that nobody gave up
    ├── NoteError (ValueError)             a link or note that cannot be, such as a link with a taken name
    └── ArtifactError (ValueError)         a commit with a bad, escaping or taken name
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import Any


class ExpeditionError(Exception):
    """Root of all errors of this package."""


class ExperimentError(ExpeditionError, ValueError):
    """An experiment file, parameter, sweep or option is wrong; raised before anything runs."""


class ExpressionError(ExperimentError):
    """A selection expression cannot be parsed, or uses what the language does not have."""


class RunFailedError(ExpeditionError, RuntimeError):
    """Runs that a program asked for did not end well.

    Attributes
    ----------
    records : the `RunRecord` of every run that was asked for and has one.
    """

    def __init__(self, message: str, records: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.records = list(records)


class CodecError(ExpeditionError, ValueError):
    """A codec lacks something, or its name or class has another codec already."""


class UndecodedError(CodecError, AttributeError):
    """A value was used that its codec has not put together."""


class UnstorableError(ExpeditionError, TypeError):
    """A value that cannot be kept exactly was given to be stored."""


class DamagedError(ExpeditionError, OSError):
    """A file of an archive is not, or no longer, what its name says."""


class TrajectoryFormatError(DamagedError):
    """A trajectory file is damaged, foreign or of a newer format."""


class RecordNotFoundError(ExpeditionError, LookupError):
    """There is no run, sweep, column or artifact of that name."""


class AmbiguousRunError(RecordNotFoundError):
    """Several runs go by that name; the message lists them."""


class _NameError(RecordNotFoundError, KeyError, AttributeError):
    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class NameNotFoundError(_NameError):
    """There is no node of that name."""


class AmbiguousNameError(_NameError):
    """A shortened name fits several nodes."""


class SelectionError(RecordNotFoundError, IndexError):
    """There is no run of that number, or an index does not fit the shape of a column."""


class FolderNotFoundError(RecordNotFoundError, FileNotFoundError):
    """A file was to be written to a folder that is not there."""


class CacheEntryNotFoundError(RecordNotFoundError, FileNotFoundError):
    """Nothing was saved in the cache under that name."""


class ReadOnlyError(ExpeditionError, AttributeError):
    """Something was assigned to a trajectory, a part of it or one of its runs: they are only read."""


class ClosedError(ExpeditionError, ValueError):
    """Data was asked of a trajectory that is closed."""


class MissingLibraryError(ExpeditionError, ImportError):
    """A library that only some calls need is not installed; the message names the extra that has it."""


class MergeError(ExpeditionError, ValueError):
    """Trajectories cannot be merged: they are of other parameter spaces, or their trials cannot be shifted."""


class OutputExistsError(ExpeditionError, FileExistsError):
    """There is a file already where one was to be written."""


class NoteError(ExpeditionError, ValueError):
    """A note on a trajectory says nothing, or a link would have a name that something else has."""


class ArtifactError(ExpeditionError, ValueError):
    """A file was committed under a name that is taken, malformed or outside the run folder."""


_PLAIN = {
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "there is no space left on the disk",
}


def reason_of(error: Exception) -> str:
    """Return what a message says of an error: of the system's only what is wrong, and with which file."""
    if isinstance(error, ExpeditionError) or not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if error.errno in _PLAIN:  # of all files there; the one that was met first may be a temporary one
        return _PLAIN[error.errno]
    return f"{error.strerror} ({error.filename})" if error.filename else error.strerror


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'a' or 'b'?)"`` for the known names closest to `name`, or ``""``."""
    import difflib  # for a message alone

    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not close:
        return ""
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)"
