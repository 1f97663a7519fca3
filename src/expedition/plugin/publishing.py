"""The sweeps of an invocation while it works on them, and when their trajectories are published."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan
from expedition.plugin.resumption import Resumption
from expedition.plugin.sweeps import NewRows
from expedition.recording import layout

LARGE_LOGS = 32 << 20
"""Bytes of commit logs above which a process of its own compiles, so that the controller's memory stays small."""

COST = 20
"""So many times its cost passes between two snapshots, at the usual interval; at a shorter one in proportion less."""

USUAL_INTERVAL = 30.0
"""Seconds between two snapshots where the project says nothing else."""

QUIET = 1.0
"""Seconds without the end of a run after which a snapshot no longer waits for the next one."""

_APPENDED = (layout.EXPANSIONS_FILE, layout.NOTES_FILE)

Content = tuple[int, int, int]


@dataclass
class ActiveSweep:
    """One sweep of this invocation: what is to run, and what has ended how.

    Attributes
    ----------
    selected, statuses : indices of the runs of the plan that are to run, and how they ended.
    applied : names of the hooks that runs applied.
    first : index of the first run of the present generation; `generation` counts them from 0, the design.
    expansions : up to which byte the expansions of the sweep folder are in the plan.
    rows : makes the manifest rows of further runs.
    summary : the lines that sum it up at the end, where they were made before its folder moved.
    """

    node: str
    plan: SweepPlan
    selected: set[int]
    folder: SweepFolder | None = None
    resumption: Resumption | None = None
    statuses: dict[int, str] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)
    generation: int = 0
    first: int = 0
    expansions: int = 0
    rows: NewRows | None = None
    summary: list[str] = field(default_factory=list)
    shown: Content = (-1, -1, -1)
    published: float = 0.0
    wait: float = 0.0

    @property
    def path(self) -> Path:
        """The sweep folder; there is one as soon as runs start."""
        assert self.folder is not None
        return self.folder.path

    @property
    def unfinished(self) -> int:
        """How many of the selected runs have not ended."""
        return len(self.selected) - len(self.statuses)

    @property
    def content(self) -> Content:
        """What a trajectory would show now: how many runs have ended, how many there are, how long the notes are."""
        assert self.folder is not None
        try:
            notes = (self.path / layout.NOTES_FILE).stat().st_size
        except OSError:
            notes = 0
        return len(self.statuses), len(self.folder.entries), notes


class Publisher:
    """Compiles trajectories: `interval` seconds, or `COST` times what the last one took, apart; and at the end.

    While runs end, their reports are the occasion. While none ends, a thread watches, so that a slow run does not
    keep the others from being seen; it leaves the work to a process of its own. An interval of 0 leaves only the
    end. What goes wrong here costs no run: it is said, and the file can be rebuilt.

    Attributes
    ----------
    messages : what the user should know.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._sweeps: list[ActiveSweep] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard = 0.0
        self.messages: list[str] = []

    def take(self, sweeps: Iterable[ActiveSweep]) -> None:
        """Have `sweeps`, whose folders are there, to publish."""
        self._sweeps = list(sweeps)

    def begin(self) -> None:
        """Begin to publish while runs run."""
        self._heard = time.monotonic()
        for sweep in self._sweeps:
            sweep.published, sweep.wait = self._heard, self._interval
        several = any(len(sweep.selected) > 1 or sweep.plan.after_sweep for sweep in self._sweeps)
        if self._interval and several:
            self._thread = threading.Thread(target=self._watch, name="expedition-snapshots", daemon=True)
            self._thread.start()

    def heard(self) -> None:
        """Publish what is due; called at every report."""
        self._heard = time.monotonic()
        for sweep in self._sweeps:
            if self._is_due(sweep) and sweep.unfinished and self._lock.acquire(blocking=False):
                try:
                    self._compile(sweep)
                finally:
                    self._lock.release()

    def publish(self, sweep: ActiveSweep) -> bool:
        """Publish a sweep now, unless its trajectory shows everything already; return whether it does now."""
        with self._lock:
            content = sweep.content
            if sweep.shown != content:
                self._compile(sweep)
            return sweep.shown >= content  # every number of it only grows

    def end(self) -> None:
        """Stop the thread, and publish what is not: a run that was interrupted has ended without a report."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for sweep in self._sweeps:
            if sweep.unfinished:
                sweep.shown = (-1, -1, -1)
            self.publish(sweep)

    def catch_up(self, path: Path) -> None:
        """Publish the sweep folder `path`, in which there was nothing to run, if its trajectory is not up to date.

        The invocation that ran its last runs may have been killed before it had published them.
        """
        if _is_behind(path):
            self._update(path)

    def say(self, message: str) -> None:
        """Keep a message for the end, once."""
        if message not in self.messages:
            self.messages.append(message)

    def _is_due(self, sweep: ActiveSweep) -> bool:
        late = time.monotonic() - sweep.published > sweep.wait
        return bool(self._interval) and late and sweep.shown[0] < len(sweep.statuses)

    def _watch(self) -> None:
        from expedition.trajectory.__main__ import compile_elsewhere

        while not self._stop.wait(min(1.0, self._interval / 4)):
            for sweep in self._sweeps:
                quiet = time.monotonic() - self._heard > min(QUIET, self._interval)
                if not (quiet and self._is_due(sweep)):
                    continue
                with self._lock:
                    begin, content = time.monotonic(), sweep.content
                    try:
                        compile_elsewhere(sweep.path)
                    except OSError:
                        content = sweep.shown  # the end tries again, and says what is wrong
                    self._note(sweep, content, begin)

    def _compile(self, sweep: ActiveSweep) -> None:
        # What the first imports take is none of the costs of a snapshot.
        import h5py  # noqa: F401

        import expedition.trajectory  # noqa: F401

        begin, content = time.monotonic(), sweep.content
        if not self._update(sweep.path):
            content = sweep.shown
        self._note(sweep, content, begin)

    def _update(self, path: Path) -> bool:
        """Bring the trajectory of the sweep folder `path` up to date; return whether that went well."""
        from expedition.trajectory import update_trajectory
        from expedition.trajectory.__main__ import compile_elsewhere

        try:
            # A project that makes errors of warnings must not lose its trajectory to one.
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                if _log_size(path) > LARGE_LOGS:
                    compile_elsewhere(path)
                else:
                    update_trajectory(path)
            for warning in caught:
                self.say(str(warning.message))
        except Exception as error:
            message = f"the trajectory of {path} could not be written ({type(error).__name__}: {error}); "
            self.say(f"{message}its runs are complete")
            return False
        return True

    def _note(self, sweep: ActiveSweep, content: Content, begin: float) -> None:
        sweep.shown, sweep.published = content, time.monotonic()
        cost = COST * (sweep.published - begin) * min(1.0, self._interval / USUAL_INTERVAL)
        sweep.wait = max(self._interval, cost)


def _is_behind(sweep: Path) -> bool:
    """Tell whether something was appended to a sweep folder after its trajectory was published."""
    try:
        published = (sweep / layout.TRAJECTORY_FILE).stat().st_mtime_ns
    except FileNotFoundError:
        return True
    logs = [*(sweep / layout.JOURNALS_FOLDER).glob("*.jsonl"), *(sweep / n for n in _APPENDED)]
    return any(log.stat().st_mtime_ns >= published for log in logs if log.exists())


def _log_size(sweep: Path) -> int:
    return sum(path.stat().st_size for path in (sweep / layout.JOURNALS_FOLDER).glob("*.jsonl"))
