"""How long the runs of a plan took when they last ran, as far as a quick look into the archive tells."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from expedition.archive.commits import find_logs
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import PlannedRun, SweepPlan
from expedition.errors import DamagedError
from expedition.recording import layout, outcomes
from expedition.recording.plain_files import open_plain, plain_lines
from expedition.values import encode

SWEEPS = 3
"""So many sweeps of an experiment are looked at, the newest first."""

LARGEST_MANIFEST = 16 << 20
"""Bytes of a manifest above which its sweep is passed over: reading it takes longer than it can gain."""

LONGEST_READ = 16 << 20
"""Bytes that are read of the commit logs of a sweep, from the beginning of each."""

_ENDED = re.compile(
    rb'\{"index":(\d+),"attempt":\d+,(?:"edit":\d+,)?"key":"[^"]*","status":"(\w+)".*?"start":(\d+),"stop":(\d+),'
)
_HEAD = 512
"""Bytes of a commit line within which all that stands."""


def past_durations(plan: SweepPlan, archive: Path) -> dict[str, float]:
    """Return seconds by run key: of the run itself, else of its point, else of the experiment on the average.

    Only runs that are done count. Empty when nothing is known.
    """
    runs: dict[str, float] = {}
    points: dict[str, list[float]] = {}
    for sweep in _last_sweeps(plan, archive):
        for index, seconds in _ended(sweep):
            if index < len(sweep.entries):
                entry = sweep.entries[index]
                runs.setdefault(entry.key, seconds)  # the newest sweep comes first
                points.setdefault(_form(entry.params), []).append(seconds)
    if not runs:
        return {}
    mean = fmean(runs.values())
    return {run.key: _of_run(run, runs, points, mean) for run in plan.runs}


def _of_run(
    run: PlannedRun, runs: Mapping[str, float], points: Mapping[str, list[float]], mean: float
) -> float:
    if run.key in runs:
        return runs[run.key]
    alike = points.get(_form({name: encode(value, name=name) for name, value in run.point.items()}))
    return fmean(alike) if alike else mean


def _form(point: Mapping[str, Any]) -> str:
    return json.dumps(point, sort_keys=True)


def _last_sweeps(plan: SweepPlan, archive: Path) -> Iterator[SweepFolder]:
    """The newest sweeps of a plan of which runs have ended, by the time in their names."""
    try:
        names = sorted(os.listdir(archive / plan.namespace), reverse=True)
    except OSError:
        return
    found = 0
    for name in names:
        file = archive / plan.namespace / name / layout.SWEEP_FILE
        try:
            if file.stat().st_size > LARGEST_MANIFEST or not _has_logs(file.parent):
                continue
            sweep = SweepFolder.open(file.parent)
            about = sweep.manifest["experiment"]
            is_own = (about.get("file"), about.get("function")) == (plan.file, plan.function)
            if is_own and bool(about.get("testing")) == plan.special.testing and sweep.entries:
                found += 1
                yield sweep
        except (OSError, DamagedError):
            continue
        if found == SWEEPS:
            return


def _has_logs(sweep: Path) -> bool:
    """Whether any run of a sweep has ended: that of this invocation has none yet."""
    with os.scandir(sweep / layout.JOURNALS_FOLDER) as files:
        return any(file.name.endswith(".jsonl") and file.stat().st_size for file in files)


def _ended(sweep: SweepFolder) -> Iterable[tuple[int, float]]:
    """Indices and seconds of runs that are done, the last word on each."""
    found: dict[int, float] = {}
    left = LONGEST_READ
    for path in find_logs(sweep).values():
        try:
            with open_plain(path) as log:
                for line in plain_lines(log):
                    left -= len(line)
                    ended = _ENDED.match(line[:_HEAD])
                    if ended and ended[2].decode() == outcomes.DONE:
                        found[int(ended[1])] = (int(ended[4]) - int(ended[3])) / 1e6
                    if left < 0:
                        return found.items()
        except OSError:
            continue
    return found.items()
