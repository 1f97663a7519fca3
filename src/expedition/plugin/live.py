"""Progress while a sweep runs: the live line of a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from expedition.recording import Run, layout, outcomes
from expedition.recording.plain_files import read_plain
from expedition.reporting.durations import estimate_remaining, format_duration

if TYPE_CHECKING:
    import pytest

    from expedition.plugin.execution import RunExecution

PLAIN_INTERVAL = 10.0
"""Seconds between two progress lines where the output is no terminal."""


class AnnouncingListener:
    """In a worker: what runs say goes to the writer's live file, from which the controller reads it."""

    def __init__(self, execution: RunExecution) -> None:
        self._execution = execution

    def said(self, run: Run, message: str) -> None:
        """Announce the first line of a message."""
        writer = self._execution.writer_of(run.sweep_path)
        writer.announce({"run": run.id, "message": message.splitlines()[0][:200] if message else ""})

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """Announce how far a run is."""
        self._execution.writer_of(run.sweep_path).announce({"run": run.id, "done": done, "total": total})


class Screen:
    """Writes to the terminal at any time, also while the output of a run goes to its log.

    The run holds the descriptors 1 and 2 then; this has one of its own, where the terminal is a file at all.
    """

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._stream: TextIO | None = None
        file = reporter._tw._file
        with contextlib.suppress(OSError, AttributeError):  # of a file without descriptor too
            self._stream = open(  # noqa: SIM115
                os.dup(file.fileno()), "w", encoding=getattr(file, "encoding", None), errors="replace"
            )

    @property
    def width(self) -> int:
        """Columns that a line may fill without being wrapped."""
        return max(20, self._reporter._tw.fullwidth - 1)

    def write(self, text: str) -> None:
        """Write `text` at once. A terminal that was closed costs no run."""
        with contextlib.suppress(OSError):
            if self._stream is None:
                self._reporter.write(text, flush=True)
            else:
                self._stream.write(text)
                self._stream.flush()

    def write_line(self, text: str) -> None:
        """Write a line of its own."""
        begun = (
            self._reporter.currentfspath is not None
        )  # pytest has written a name and waits for the outcome
        self._reporter.currentfspath = None
        self.write(f"\n{text}\n" if begun else f"{text}\n")

    def close(self) -> None:
        """Give the descriptor back."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None


class Progress:
    """Counts outcomes and shows them; also hears the runs of this process.

    On a terminal one line at the bottom is kept up to date, elsewhere a line is written now and then.
    """

    def __init__(self, reporter: pytest.TerminalReporter | None, *, verbose: bool, workers: int) -> None:
        self._screen = Screen(reporter) if reporter is not None else None
        self._verbose = verbose
        self._workers = max(1, workers)
        self._lock = threading.RLock()
        self._final = not verbose and reporter is not None and reporter.verbosity >= 0
        self._tty = reporter is not None and reporter.isatty and not verbose
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = ""
        self._said = ""
        self._begin = self._last = time.monotonic()
        self._durations: list[float] = []
        self.total = 0
        self.counts: dict[str, int] = {}
        self.sweeps: list[Path] = []
        self.chatty = False
        self.is_open = False

    def begin(self, total: int, sweeps: Iterable[Path]) -> None:
        """Start showing progress towards `total` runs."""
        self.total, self.sweeps = total, list(sweeps)
        self._begin = self._last = time.monotonic()
        self.is_open = True
        if self._tty and total:
            self._thread = threading.Thread(target=self._refresh, name="expedition-live", daemon=True)
            self._thread.start()

    def grow(self, count: int) -> None:
        """There are `count` more runs to come."""
        self.total += count

    def ended(self, status: str, duration: float) -> None:
        """Count a run that ended."""
        self.counts[status] = self.counts.get(status, 0) + 1
        if len(self._durations) < 10_000:
            self._durations.append(duration)
        now = time.monotonic()
        if self._tty:
            if now - self._last > 0.1:
                self._last = now
                self.show()
        elif not self._verbose and now - self._last > PLAIN_INTERVAL:
            self._last = now
            self.say(self.line())

    def said(self, run: Run, message: str) -> None:
        """Show a message of a run of this process."""
        first = message.splitlines()[0] if message else ""
        self._said = f"{run.id}: {first}" if run.id else first
        if self._verbose or self.chatty:
            prefix = f"[{run.id}] " if self.total > 1 else ""
            self.say(f"{prefix}{message}")

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """Show how far a run of this process is."""
        self._said = f"{run.id}: {done}{f'/{total}' if total else ''}"
        now = time.monotonic()
        if self._tty and now - self._last > 0.1:
            self._last = now
            self.show()

    def say(self, text: str) -> None:
        """Write a whole line above the live one; what would steer the terminal is written as an escape."""
        if self._screen is None:
            return
        from expedition.reporting.plain_text import printable

        text = printable(text)
        with self._lock:
            self._clear()
            self._screen.write_line(text)
            if self._tty:
                self.show()

    def line(self) -> str:
        """The state of the sweep in one line."""
        done = sum(self.counts.values())
        good = sum(self.counts.get(status, 0) for status in outcomes.SETTLED)
        left = self.total - done
        elapsed = time.monotonic() - self._begin
        parts = [f"{done}/{self.total} runs", f"{good} done"]
        bad = done - good
        if bad:
            parts.append(f"{bad} failed")
        if left:
            parts.append(f"{min(left, self._workers)} running")
            remaining = estimate_remaining(self._durations, left, self._workers, elapsed)
            if remaining is not None:
                parts.append(f"ETA {format_duration(remaining)}")
        else:
            parts.append(f"in {format_duration(elapsed)}")
        return " · ".join(parts)

    def show(self) -> None:
        """Draw the live line anew."""
        if not self._tty or self._screen is None:
            return
        with self._lock:
            width = self._screen.width
            text = self.line()
            message = self._said or self._announced()
            if message:
                text += f" · {''.join(c if c.isprintable() else ' ' for c in message)}"
            text = text if len(text) <= width else text[: width - 1] + "…"
            self._screen.write(f"\r{text:{width}}")
            self._shown = text

    def end(self) -> None:
        """Stop drawing; the last state stays as a line of its own."""
        self.is_open = False
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
            self._thread = None
        with self._lock:
            self._clear()
            if self._screen is not None:
                if self._final and self.total:
                    self._screen.write_line(self.line())
                self._screen.close()

    def _clear(self) -> None:
        if self._shown and self._screen is not None:
            self._screen.write(f"\r{'':{self._screen.width}}\r")
            self._shown = ""

    def _refresh(self) -> None:
        while not self._stop.wait(1.0):
            with contextlib.suppress(Exception):  # a closed terminal must not end the sweep
                self.show()

    def _announced(self) -> str:
        """The newest word of the workers, from their live files."""
        newest: tuple[float, Any] = (0.0, None)
        for sweep in self.sweeps:
            with contextlib.suppress(OSError, ValueError):
                for path in (sweep / layout.JOURNALS_FOLDER).glob("*.live"):
                    modified = path.stat().st_mtime
                    if modified > newest[0]:
                        newest = (modified, json.loads(read_plain(path)))
        if newest[1] is None or time.time() - newest[0] > 5:
            return ""
        state = newest[1]
        what = (
            state.get("message")
            or f"{state.get('done')}{'/' + str(state['total']) if state.get('total') else ''}"
        )
        return f"{state.get('run')}: {what}" if state.get("run") else str(what)
