"""Stale runs: settled ones whose code, inputs or seed are others by now, and what it is that has changed."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.archive.meta_file import load_meta
from expedition.archive.recorded_code import RecordedCodes
from expedition.archive.sweep import SweepFolder
from expedition.authoring.experiment_code import CODE, CONSTANT, ExperimentCode
from expedition.errors import DamagedError
from expedition.plugin.input_check import InputCheck
from expedition.recording.inputs import InputFiles
from expedition.recording.masking import Mask

_SHORT = 12
_LONG_HASH = 64


@dataclass(frozen=True)
class RecordedRun:
    """What the last word on a settled run says of its code, inputs and seed.

    `inputs` is their number where the meta file in `folder`, below the sweep folder, has them; `start` is in µs
    since the epoch; `seed` None where it is not said.
    """

    code: str
    inputs: Sequence[Mapping[str, Any]] | int
    folder: str
    start: int
    seed: int | None = None

    @classmethod
    def of(cls, line: Mapping[str, Any], folder: str) -> RecordedRun:
        """Return what a commit line says; anything of a wrong kind counts as not said."""
        code, inputs, seed = line.get("code"), line.get("inputs", ()), line.get("seed")
        if not isinstance(inputs, int):
            inputs = [one for one in inputs if isinstance(one, dict)] if isinstance(inputs, list) else []
        return cls(
            code if isinstance(code, str) else "",
            inputs,
            folder,
            line["start"] or 0,
            seed if isinstance(seed, int) else None,
        )


@dataclass(frozen=True)
class Reason:
    """Why runs are stale: the digest of their code, empty where that is the same, and a text for all else."""

    code: str
    others: tuple[str, ...]


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
        self._inputs_now = InputCheck(archive, InputFiles(root), is_still=True)

    def of(
        self,
        sweep: SweepFolder,
        runs: Mapping[str, RecordedRun],
        code: ExperimentCode | None,
        *,
        seed_of: Callable[[str], int],
        about_seed: str,
        ignore_code: bool,
    ) -> Staleness:
        """Return which of the settled `runs`, by run key, are stale.

        With `ignore_code`, and without `code`, they are so by their inputs and seeds alone; `seed_of` gives the seed
        that a run would have now, `about_seed` says what that follows from.
        """
        found = Staleness()
        for key, run in runs.items():
            if not run.code:
                found.unknown += 1
            is_same = ignore_code or code is None or run.code in ("", code.digest)
            changed = "" if is_same else run.code
            inputs = self._inputs(sweep, run)
            texts, gone = self._inputs_now.changes(
                inputs, since=run.start, besides=sweep.path, ignore_code=ignore_code
            )
            for place in gone:
                found.missing[place] = found.missing.get(place, 0) + 1
            if run.seed is not None and run.seed != seed_of(key):
                texts = (*texts, about_seed)
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


def explain(
    name: str,
    sweep: SweepFolder,
    staleness: Staleness,
    code: ExperimentCode | None,
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
        for text in reason.others:
            yield mask.text(f"  {text}")
        if not reason.code or code is None:
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
