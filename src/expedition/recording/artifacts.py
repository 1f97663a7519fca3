"""Artifacts: the files that a run commits to its folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from expedition.errors import ArtifactError, UnstorableError
from expedition.recording import layout
from expedition.recording.files import replace_file
from expedition.recording.masking import NO_MASK, Mask
from expedition.recording.steps import STEPS


class Artifacts:
    """Writes files into the run folder `folder` and keeps their names, sizes and hashes.

    `write` takes the JSON text of a journal event.
    """

    def __init__(self, write: Callable[[str], None], folder: Path, mask: Mask = NO_MASK) -> None:
        self._write = write
        self._mask = mask
        self.folder = folder
        self._committed: dict[str, dict[str, Any]] = {}
        self._opened: dict[str, IO[Any]] = {}

    def path_for(self, name: str, *, overwrite: bool = False, suffix: str = "") -> tuple[str, Path]:
        """Check an artifact's name; return it, completed by `suffix`, with its path, whose folder is made.

        Raises `ArtifactError` for a name that is empty, leaves the folder, is reserved or taken, `UnstorableError` for
        one that has a secret in it.
        """
        relative = check_name(name)
        self._mask.check(relative)
        if ".tmp-" in relative:
            raise ArtifactError(
                f"artifact {name!r}: '.tmp-' marks files that are not finished; choose a name without it"
            )
        if suffix and not PurePosixPath(relative).suffix:
            relative += suffix
        path = self.folder / relative
        if not path.parent.resolve().is_relative_to(self.folder.resolve()) or path.is_symlink():
            raise ArtifactError(f"artifact {name!r} would leave the run folder {self.folder}")
        if path.is_dir() or any(parent.is_file() for parent in path.parents[: len(Path(relative).parts)]):
            raise ArtifactError(f"artifact {name!r}: a part of that name is a file, or all of it a folder")
        taken = relative in self._committed or relative in self._opened or path.exists()
        if taken and not overwrite:
            raise ArtifactError(
                f"artifact {relative!r} is committed already; choose another name or say overwrite=True"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return relative, path

    def commit_bytes(
        self, name: str, content: bytes, kind: str, *, overwrite: bool, suffix: str = ""
    ) -> Path:
        """Write `content` whole and note it down."""
        relative, path = self.path_for(name, overwrite=overwrite, suffix=suffix)
        self._mask.check_bytes(content, relative)  # before it takes the place of what is there
        replace_file(path, content)
        self._note(relative, len(content), hashlib.sha256(content).hexdigest(), kind)
        return path

    def commit_made(
        self, name: str, kind: str, make: Callable[[Path], Any], *, overwrite: bool, suffix: str = ""
    ) -> Path:
        """Let `make` write a temporary file, then put it in place and note it down."""
        relative, path = self.path_for(name, overwrite=overwrite, suffix=suffix)
        # The name keeps its ending, by which matplotlib and pandas know the format.
        temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
        try:
            make(temporary)
            self._mask.check_file(temporary, relative)
            size, digest = _measure(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self._note(relative, size, digest, kind)
        return path

    def commit_file(self, name: str, source: Path, *, overwrite: bool) -> Path:
        """Copy the file `source` into the folder."""
        if not source.is_file():
            raise ArtifactError(f"artifact {name!r}: there is no file {source}")
        return self.commit_made(name, "file", lambda path: shutil.copyfile(source, path), overwrite=overwrite)

    def open(self, name: str, mode: str, **options: Any) -> IO[Any]:
        """Open a file of the run folder; what was opened to write is noted down when the run ends."""
        if not any(letter in mode for letter in "wxa+"):
            return open(self.folder / check_name(name), mode, **options)
        relative, path = self.path_for(name, overwrite="x" not in mode)
        if "b" not in mode:
            options.setdefault("encoding", "utf-8")
        return self._open(relative, path, mode, options)

    @STEPS.step
    def _open(self, relative: str, path: Path, mode: str, options: dict[str, Any]) -> IO[Any]:
        stream = open(path, mode, **options)  # noqa: SIM115 - it is the caller's
        self._write(json.dumps({"e": "open", "name": relative}))
        self._opened[relative] = stream
        if STEPS.waiting is not None:
            STEPS.let_in()
        return stream

    def settle(self) -> list[str]:
        """Note down the files that were opened to write; one that has a secret in it is removed.

        Returns messages, each with the type of an exception before it, for files that cannot be noted down.
        """
        problems = []
        for relative, stream in self._opened.items():
            try:
                if not stream.closed:
                    stream.flush()
                path = self.folder / relative
                if path.is_file():
                    self._check(path, relative)
                    self._note(relative, *_measure(path), "file")
            except (UnstorableError, OSError) as error:
                problems.append(f"{type(error).__name__}: {error}")
        self._opened.clear()
        return problems

    def listing(self) -> list[dict[str, Any]]:
        """Name, size in bytes, SHA-256 and kind of every artifact, in order of commitment."""
        return list(self._committed.values())

    def _check(self, path: Path, relative: str) -> None:
        """Take a file away that has a secret in it. Raises `UnstorableError`."""
        try:
            self._mask.check_file(path, relative)
        except UnstorableError as error:
            path.unlink()
            self._committed.pop(relative, None)
            raise UnstorableError(f"{error}; the file was removed") from None

    @STEPS.step
    def _note(self, relative: str, size: int, digest: str, kind: str) -> None:
        entry = {"name": relative, "size": size, "sha256": digest, "kind": kind}
        self._write('{"e":"commit",' + json.dumps(entry)[1:])
        self._committed[relative] = entry
        if STEPS.waiting is not None:
            STEPS.let_in()


def check_name(name: str) -> str:
    """Return an artifact's name in its normal form. Raises `ArtifactError` when it is none."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        raise ArtifactError(f"an artifact needs a relative name with '/' between folders, but got {name!r}")
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or ":" in pure.parts[0]:
        raise ArtifactError(f"artifact {name!r} would leave the run folder; use a relative name without '..'")
    if pure.parts[0] in layout.RESERVED or pure.parts[0].startswith(".tmp"):
        raise ArtifactError(
            f"artifact {name!r}: {pure.parts[0]!r} belongs to the archive; choose another name"
        )
    return str(pure)


def picture_of(figure: Any) -> Callable[[Path], Any]:
    """Return what writes a matplotlib figure (or anything that has one) to a path.

    Raises `UnstorableError` for anything else.
    """
    owner = figure if hasattr(figure, "savefig") else getattr(figure, "figure", None)
    if owner is None or not hasattr(owner, "savefig"):
        raise UnstorableError(
            f"commit_fig takes a matplotlib figure or axes, but got a {type(figure).__name__}"
        )
    return lambda path: owner.savefig(path)


def bytes_of_json(value: Any, name: str) -> bytes:
    """Strict JSON of `value` with an indent of two; numpy numbers and arrays become numbers and lists.

    Raises `UnstorableError` naming the artifact for NaN, infinities and whatever JSON cannot say.
    """

    def plain(item: Any) -> Any:
        if hasattr(item, "tolist") and type(item).__module__.startswith("numpy"):
            return item.tolist()
        raise TypeError(f"a value of type {type(item).__name__} is no JSON")

    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=plain)
    except (TypeError, ValueError) as error:
        raise UnstorableError(
            f"artifact {name!r}: {error}; experiment[{name!r}] = … keeps any storable value exactly"
        ) from None
    return text.encode("utf-8", "surrogatepass") + b"\n"


def bytes_of_array(value: Any, name: str) -> bytes:
    """The ``.npy`` form of an array or number. Raises `UnstorableError` for object arrays."""
    import numpy as np

    array = np.asarray(value)
    if array.dtype.hasobject:
        raise UnstorableError(f"artifact {name!r}: an array of objects cannot be stored without pickle")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def commit_form(value: Any) -> str:
    """How `Run.commit` writes a value: ``raw``, ``array``, ``frame``, ``fig``, ``file`` or ``json``."""
    if isinstance(value, str | bytes | bytearray | memoryview):
        return "raw"
    if isinstance(value, Path):
        return "file"
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return "array"
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        return "frame"
    if hasattr(value, "savefig") or hasattr(getattr(value, "figure", None), "savefig"):
        return "fig"
    return "json"


def _measure(path: Path) -> tuple[int, str]:
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest
