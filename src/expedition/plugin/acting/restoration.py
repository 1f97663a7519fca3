"""``--archive-restore``: what was deleted comes back to where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from expedition.archive import Archive
from expedition.archive.edit_lines import EditLog
from expedition.archive.naming import MIN_KEY, is_called
from expedition.archive.rows import RunRow, short_reference
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.archive.trash import Trash, Trashed
from expedition.errors import (
    AmbiguousRunError,
    DamagedError,
    ExpeditionError,
    RecordNotFoundError,
    near_matches,
)
from expedition.plugin.acting.action import counted
from expedition.plugin.acting.holding import held, reason_of, recompiled, refuse_held
from expedition.recording import layout


def plan_restoration(root: Path, wanted: Sequence[RunRow] | Sequence[str] | None = None) -> Restoration:
    """Return how deleted runs come back to where they were in the archive `root`; nothing is written yet.

    `wanted` are rows of runs in the trash, or names: of a deletion (all that it took), of a run by its folder, id or
    key, of a sweep by its folder. With None everything comes back. A run in a sweep that was deleted as a whole
    comes back with it. What has its place taken is told in `problems`.

    Raises `RecordNotFoundError` with near matches, `AmbiguousRunError` when a run was deleted several times, and
    `ExperimentError` for a sweep that an invocation is at.
    """
    trash, problems = Trash(root), list[str]()
    items: list[Trashed] = []
    for entry in trash.entries():
        try:
            items += trash.content(entry)
        except DamagedError as error:
            problems.append(str(error))
    chosen = list(items) if wanted is None else _chosen(trash, items, wanted)
    found: list[Trashed] = []
    coming: set[str] = set()
    # Sweeps come before their runs; and of several with one place the one that was deleted last.
    for item in sorted(chosen, key=lambda item: (item.is_sweep, item.deleted), reverse=True):
        sweep = _sweep_of(trash, item)
        link = trash.link_before(item.place)
        if link is not None:
            problems.append(
                f"{item.entry}/{item.place}: cannot come back, {link} is a link now; put a folder in its place"
            )
        elif item.place in coming or (trash.base / item.place).exists():
            problems.append(f"{item.entry}/{item.place}: cannot come back, its place is taken")
        elif sweep and sweep not in coming and not (trash.base / sweep / layout.SWEEP_FILE).is_file():
            problems.append(f"{item.entry}/{item.place}: its sweep is not there; restore {sweep} first")
        else:
            coming.add(item.place)
            found.append(item)
    sweeps = {trash.base / sweep for item in found if (sweep := _sweep_of(trash, item))}
    refuse_held(sorted(sweeps), "restored")
    return Restoration(trash, found, problems)


class Restoration:
    """Moves runs and sweeps out of the trash: an `Action`."""

    def __init__(self, trash: Trash, items: list[Trashed], problems: list[str]) -> None:
        self._trash = trash
        self._items = items
        self._restored = 0
        self.problems = problems
        runs = sum(item.runs for item in items)
        self.question = f"restore {counted(runs, 'run')} from the trash?" if items else ""

    def preview(self) -> Iterator[str]:
        """Yield a line for each folder."""
        if not self._items and not self.problems:
            yield self._idle()
        for item in self._items:
            what = counted(item.runs, "run")
            yield f"{item.place}: {what}, deleted {item.deleted:%Y-%m-%d %H:%M:%S}"

    def apply(self) -> Iterator[str]:
        """Move everything back, and yield what was moved."""
        if not self._items and not self.problems:
            yield f"nothing to do: {self._idle()}"
        groups: dict[str, list[Trashed]] = {}
        for item in self._items:
            sweep = _sweep_of(self._trash, item)
            if sweep:
                groups.setdefault(sweep, []).append(item)
            elif self._restore(item):
                yield f"restored {item.place}"
        for sweep, items in groups.items():
            try:
                yield from self._restore_runs(self._trash.base / sweep, items)
            except (ExpeditionError, OSError) as error:
                self.problems.append(f"{sweep}: {reason_of(error)}")
        if self._restored:
            yield f"restored {counted(self._restored, 'run')} from the trash"

    def _idle(self) -> str:
        return f"the trash of {self._trash.base} is empty"

    def _restore_runs(self, sweep: Path, items: list[Trashed]) -> Iterator[str]:
        with held(sweep, "restored"):
            opened: SweepFolder | None = None
            planned: dict[str, RunEntry] = {}
            with contextlib.suppress(DamagedError):
                opened = SweepFolder.open(sweep)
                planned = {entry.folder: entry for entry in opened.entries}
            with EditLog(opened) if opened is not None and planned else contextlib.nullcontext() as log:
                for item in items:
                    if not self._restore(item):
                        continue
                    folder = PurePosixPath(item.place).relative_to(str(item.about["sweep"])).as_posix()
                    if log is not None and folder in planned:
                        log.tell(planned[folder])
                    yield f"restored {item.place}"
            problem = recompiled(sweep) if planned else None
        if problem is not None:
            self.problems.append(problem)

    def _restore(self, item: Trashed) -> bool:
        try:
            self._trash.restore(item)
        except (DamagedError, OSError) as error:
            self.problems.append(f"{item.entry}/{item.place}: cannot come back: {reason_of(error)}")
            return False
        self._restored += item.runs
        return True


def _sweep_of(trash: Trash, item: Trashed) -> str:
    """Place of the sweep that a deleted run was in; empty for a sweep, and for a run that was in none."""
    sweep = item.about.get("sweep")
    inside = isinstance(sweep, str) and item.place.startswith(f"{sweep}/")
    return str(sweep) if inside and not item.is_sweep else ""


def _chosen(trash: Trash, items: list[Trashed], wanted: Sequence[RunRow] | Sequence[str]) -> list[Trashed]:
    found: dict[Path, Trashed] = {}
    for one in wanted:
        if isinstance(one, RunRow):
            there = [item for item in items if one.path.resolve().is_relative_to(item.path)]
            name = str(one.path)
        else:
            name = one.replace("\\", "/").strip("/")
            there = [item for item in items if item.entry == name]
            if not there:
                there = _one(_named(items, name) or _holding(items, name), name)
        if not there:
            names = sorted({name for item in items for name in _names_of(item)})
            raise RecordNotFoundError(
                f"no run {name!r} in the trash of {trash.base}{near_matches(name, names)}; name its folder, its id, "
                f"its key, or the deletion"
            )
        found.update((item.path, item) for item in there)
    return list(found.values())


def _named(items: list[Trashed], name: str) -> list[Trashed]:
    return [
        item
        for item in items
        if name in _names_of(item)
        or (len(name) >= MIN_KEY and str(item.about.get("key", "")).startswith(name))
    ]


def _holding(items: list[Trashed], name: str) -> list[Trashed]:
    """The sweeps with a run of that name: where a deletion took all runs of one, the folder of the sweep went."""
    return [
        item
        for item in items
        if item.is_sweep and any(is_called(row, name) for row in Archive(item.path).rows())
    ]


def _one(there: list[Trashed], name: str) -> list[Trashed]:
    """Return `there`. Raises `AmbiguousRunError` when it is several things."""
    if len(there) > 1:
        names = ", ".join(f"{item.entry}/{item.place}" for item in there[:8])
        raise AmbiguousRunError(f"{name!r} means several things in the trash: {names}; name one of these")
    return there


def _names_of(item: Trashed) -> Iterator[str]:
    parts = item.place.split("/")
    yield from ("/".join(parts[i:]) for i in range(len(parts)))
    yield f"{item.entry}/{item.place}"
    if item.about.get("id"):
        yield str(item.about["id"])
    sweep = item.about.get("sweep")
    if isinstance(sweep, str) and len(parts) > 1:
        short = short_reference(sweep.rpartition("/")[2], parts[-1])
        if short is not None:
            yield short
