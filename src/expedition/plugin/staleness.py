"""Stale runs: settled ones whose code or inputs are others by now, and what it is that has changed."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from expedition.archive.meta_file import load_meta
from expedition.archive.recorded_code import RecordedCodes
from expedition.archive.sweep import SweepFolder
from expedition.authoring.experiment_code import CODE, CONSTANT, ExperimentCode
from expedition.errors import DamagedError, ExperimentError
from expedition.recording.inputs import RUN, InputFiles
from expedition.recording.masking import Mask

_SHORT = 12
_LONG_HASH = 64


@dataclass(frozen=True)
class RecordedRun:
    """What the last word on a settled run says of its code and inputs.

    `inputs` is their number where the meta file in `folder`, below the sweep folder, has them; `start` is in µs
    since the epoch.
    """

    code: str
    inputs: Sequence[Mapping[str, Any]] | int
    folder: str
    start: int

    @classmethod
    def of(cls, line: Mapping[str, Any], folder: str) -> RecordedRun:
        """Return what a commit line says; anything of a wrong kind counts as not said."""
        code, inputs = line.get("code"), line.get("inputs", ())
        if not isinstance(inputs, int):
            inputs = [one for one in inputs if isinstance(one, dict)] if isinstance(inputs, list) else []
        return cls(code if isinstance(code, str) else "", inputs, folder, line["start"] or 0)


@dataclass(frozen=True)
class Reason:
    """Why runs are stale: the digest of their code, empty where that is the same, and changed inputs, each a text."""

    code: str
    inputs: tuple[str, ...]


@dataclass
class Staleness:
    """The stale runs of a sweep by run key.

    Attributes
    ----------
    reasons : by run key why it is stale.
    unknown : how many settled runs were recorded before there was anything on code; they count as unchanged.
    missing : inputs that are not there any more, with the number of runs that read them; these stay as they are.
    """

    reasons: dict[str, Reason] = field(default_factory=dict)
    unknown: int = 0
    missing: dict[str, int] = field(default_factory=dict)

    def groups(self) -> dict[Reason, list[str]]:
        """Return run keys by the reason that they have in common."""
        found: dict[Reason, list[str]] = {}
        for key, reason in self.reasons.items():
            found.setdefault(reason, []).append(key)
        return found


class StalenessCheck:
    """Compares what runs were made with to what they would be made with now.

    `archive` is the archive root and `root` the folder of the project, below which inputs are.
    """

    def __init__(self, archive: Path, root: Path) -> None:
        self._archive = archive
        self._files = InputFiles(root)
        self._now = lru_cache(maxsize=None)(self._described)
        self._past = lru_cache(maxsize=100_000)(self._past_run)

    def of(
        self, sweep: SweepFolder, runs: Mapping[str, RecordedRun], code: ExperimentCode, *, ignore_code: bool
    ) -> Staleness:
        """Return which of the settled `runs`, by run key, are stale; with `ignore_code` only by their inputs."""
        found = Staleness()
        for key, run in runs.items():
            if not run.code:
                found.unknown += 1
            changed = "" if ignore_code or run.code in ("", code.digest) else run.code
            inputs = self._inputs(sweep, run)
            texts = tuple(text for one in inputs if (text := self._changed(one, run, found.missing)))
            if changed or texts:
                found.reasons[key] = Reason(changed, texts)
        return found

    def _inputs(self, sweep: SweepFolder, run: RecordedRun) -> Sequence[Mapping[str, Any]]:
        if not isinstance(run.inputs, int):
            return run.inputs
        with contextlib.suppress(DamagedError, FileNotFoundError):
            inputs = load_meta(sweep.path / run.folder).get("inputs", [])
            return [one for one in inputs if isinstance(one, dict)]
        return ()

    def _changed(self, one: Mapping[str, Any], run: RecordedRun, missing: dict[str, int]) -> str:
        """What of an input has changed, empty when nothing has."""
        if one.get("kind") == RUN:
            return self._changed_run(one, run)
        place = str(one.get("path", ""))
        now = self._now(place)
        if now is None:
            missing[place] = missing.get(place, 0) + 1
            return ""
        if now["sha256"] == one.get("sha256") and now["kind"] == one.get("kind"):
            return ""
        return f"input {place} was {_content(one)}, is {_content(now)}"

    def _described(self, place: str) -> dict[str, Any] | None:
        path = self._files.place_of(place)
        try:
            return self._files.describe(path) if path.exists() else None
        except (OSError, ExperimentError):
            return None

    def _changed_run(self, one: Mapping[str, Any], run: RecordedRun) -> str:
        folder = str(one.get("folder", ""))
        now = self._past(folder)
        if now is None:
            return ""
        attempt, start, edited = now
        if "attempt" in one and (one["attempt"], one.get("start")) != (attempt, start):
            return f"the run {folder}, which was read, was run again (attempt {attempt + 1})"
        if edited > run.start:
            return f"the run {folder}, which was read, was edited"
        return ""

    def _past_run(self, folder: str) -> tuple[int, str, int] | None:
        """Attempt and start of a run of the archive, and when it was last edited; None where it is gone."""
        from expedition.archive.recovery import microseconds

        place = self._archive / folder
        if ".." in Path(folder).parts or not place.is_relative_to(self._archive):
            return None
        try:
            meta = load_meta(place)
        except (DamagedError, FileNotFoundError):
            return None
        edits = [str(edit.get("time")) for edit in meta.get("edits", ()) if isinstance(edit, dict)]
        try:
            last = max((microseconds(time) for time in edits), default=0)
        except ValueError:
            last = 0
        return int(meta.get("attempt", 0)), str(meta.get("start", "")), last


def explain(
    name: str,
    sweep: SweepFolder,
    staleness: Staleness,
    code: ExperimentCode,
    *,
    root: Path,
    label_of: Callable[[str], str],
    mask: Mask,
) -> Iterator[str]:
    """Yield the lines that say why runs of the experiment `name` are stale; `label_of` names a run by its key.

    Of changed functions they have a unified diff, where the sweep folder has the source.
    """
    codes = RecordedCodes.of(sweep)
    for reason, keys in staleness.groups().items():
        labels = [label_of(key) for key in keys[:3]]
        more = ", …" if len(keys) > 3 else ""
        runs = "1 run is" if len(keys) == 1 else f"{len(keys)} runs are"
        yield f"{name}: {runs} stale ({', '.join(labels)}{more})"
        for text in reason.inputs:
            yield mask.text(f"  {text}")
        if not reason.code:
            continue
        before = codes.parts(reason.code)
        if before is None:
            yield f"  the code was {reason.code}, of which the sweep tells no parts, is {code.digest}"
            continue
        yield f"  the code was {reason.code}, is {code.digest}"
        for part in sorted({*before, *code.parts}):
            if before.get(part) != code.parts.get(part):
                for line in _part_lines(part, before, code, codes, reason.code, root):
                    yield mask.text(f"  {line}")


def _part_lines(
    part: str,
    before: Mapping[str, str],
    code: ExperimentCode,
    codes: RecordedCodes,
    digest: str,
    root: Path,
) -> Iterator[str]:
    what = part.removeprefix(CODE) if part.startswith(CODE) else part
    if part not in before:
        yield f"{what} is new"
        return
    if part not in code.parts:
        yield f"{what} is gone"
        return
    if not part.startswith(CODE):
        yield f"{what} was {_shortened(before[part], part)}, is {_shortened(code.parts[part], part)}"
        return
    yield f"{what} was {before[part][:_SHORT]}, is {code.parts[part][:_SHORT]}"
    now, then = code.sources([part]).get(part), codes.source(digest, part)
    if now is None or then is None:
        return
    name = code.places([part], root).get(part, what)
    for line in difflib.unified_diff(
        then.splitlines(), now.splitlines(), f"recorded/{name}", f"present/{name}", lineterm=""
    ):
        yield f"  {line}"


def _shortened(text: str, part: str) -> str:
    is_hash = part.startswith(CONSTANT) and len(text) == _LONG_HASH
    return text[:_SHORT] if is_hash else text


def _content(one: Mapping[str, Any]) -> str:
    return f"{str(one.get('sha256', ''))[:_SHORT]} ({one.get('size')} bytes)"
