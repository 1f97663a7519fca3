"""What becomes of each sweep that is imported, by comparison with what the archive has already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive.bundle import join_names
from expedition.archive.liveness import is_held
from expedition.errors import DamagedError, ExperimentError
from expedition.plugin.acting.carried import Carried
from expedition.plugin.acting.incoming import IncomingSweep, Source, crc_of
from expedition.recording import layout
from expedition.recording.plain_files import read_plain

_GROWING = (layout.INVOCATIONS_FILE, layout.EXPANSIONS_FILE, layout.NOTES_FILE)
_MADE_ANEW = frozenset({layout.TRAJECTORY_FILE, "report.html"})


@dataclass
class Arrival:
    """What becomes of a sweep: it is new, or some of its runs are.

    Attributes
    ----------
    sweep : what comes. target : its folder in the archive. is_new : whether there is none yet.
    runs : names of run folders that come in. same : how many are here already.
    lines : what is added to files of lines. files : other files that come in. kept : files here that differ.
    is_unfinished : whether an import was killed that had begun to put runs into it.
    """

    sweep: IncomingSweep
    target: Path
    is_new: bool = True
    runs: list[str] = field(default_factory=list)
    same: int = 0
    lines: dict[str, bytes] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    is_unfinished: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether anything is to be done for it."""
        return bool(self.is_new or self.runs or self.lines or self.files or self.is_unfinished)

    @property
    def names(self) -> list[str]:
        """The files that come in."""
        if self.is_new:
            return self.sweep.names
        return [*self.files, *(name for run in self.runs for name in self.sweep.members.runs[run])]


def compare(source: Source, arrival: Arrival) -> list[str]:
    """Find out what a sweep brings that the one of its name lacks; return what differs between the two."""
    sweep, target = arrival.sweep, arrival.target
    arrival.is_new, arrival.runs = False, []
    if is_held(target / layout.JOURNALS_FOLDER / layout.INVOCATION_LOCK):
        raise ExperimentError(f"{target} takes no runs in now: an invocation is at it; wait for its end")
    if not _is_same(source, sweep, layout.SWEEP_FILE, target):
        return [f"{sweep.place} is another sweep there"]
    wrong: list[str] = []
    for run, names in sweep.members.runs.items():
        inside = sweep.inside(run)
        if not (target / inside / layout.META_FILE).is_file() and (
            inside == "." or not (target / inside).exists()
        ):
            arrival.runs.append(run)
        elif _same_run(source, sweep, run, names, target):
            arrival.same += 1
        else:
            wrong.append(f"the run {sweep.place}/{inside} is another there")
    for name in sweep.members.own:
        inside = sweep.inside(name)
        here = target / inside
        if inside in _MADE_ANEW or inside == layout.SWEEP_FILE:
            continue
        if not here.exists():
            arrival.files.append(name)
        elif inside in _GROWING:
            old, new = read_plain(here), source.read(name)
            if new.startswith(old) and (old.endswith(b"\n") or not old or old == new):
                if new != old:
                    arrival.lines[name] = new[len(old) :]
            elif not old.startswith(new):
                wrong.append(f"{sweep.place} went on in another way there: {inside} differs")
        elif not _is_same(source, sweep, inside, target) and not is_log(inside):
            arrival.kept.append(inside)  # of logs those lines are written again that are missing here
    if arrival.lines or arrival.runs:
        return wrong
    # Files alone would make two half sweeps one: a summary, a snapshot and logs belong to the runs they came with.
    # Only the import that brought these runs may still have to bring their logs, which come last.
    arrival.files = [name for name in arrival.files if arrival.is_unfinished and is_log(sweep.inside(name))]
    return wrong


def is_log(inside: str) -> bool:
    """Tell whether a file of a sweep is a commit log."""
    return inside.startswith(f"{layout.JOURNALS_FOLDER}/")


def _is_same(source: Source, sweep: IncomingSweep, inside: str, target: Path) -> bool:
    name = f"{sweep.folder}/{inside}" if sweep.folder else inside
    here = target / inside
    try:
        return here.stat().st_size == source.sizes[name] and crc_of(here) == source.crc(name)
    except OSError:
        return False


def _same_run(source: Source, sweep: IncomingSweep, run: str, names: Sequence[str], target: Path) -> bool:
    folder = target / sweep.inside(run)
    is_sweep = folder == target
    carried = Carried(folder, is_sweep=is_sweep)
    try:
        here = {
            "/".join(parts)
            for parts, _, is_folder in carried
            if not is_folder and not (is_sweep and parts[0] in layout.SWEEP_OWNED)
        }
    except DamagedError:
        return False  # there is a link among its files
    above = sweep.inside(run) if not is_sweep else ""
    inner = [sweep.inside(name)[len(above) + 1 if above else 0 :] for name in names]
    coming = {name for name in inner if carried.takes(name.split("/"))}
    return here == coming and all(_is_same(source, sweep, join_names(above, name), target) for name in coming)
