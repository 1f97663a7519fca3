"""The watcher of a process that executes runs: it ends the process when a run does not end in time.

It is a process of its own, since nothing inside of the watched one can be relied on while C code holds the interpreter
lock, or a lock is waited for that nobody gives back. It is started with the first run that has a timeout, and goes when
the watched process goes. It imports the standard library alone, so that it starts in some milliseconds:
``python -I -S …/watcher.py PACKAGES PID REQUESTS REPLIES STACK TERMINAL``, the last four being open file descriptors.

Requests are JSON lines. ``begin`` says what a run is, and how long it has; ``raised`` that it has heard of its
timeout; ``end`` that it is over; ``leave`` that there is nothing more to watch. With ``reply`` the watched process
waits for a byte before it goes on. It asks for one as soon as the timeout is over, so that a run is never ended whose
``end`` was sent, and no run goes on that is being ended.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

AGAIN = 0.1
"""Seconds after which a process that has not heard of a timeout is told again."""

STACK_WAIT = 1.0
"""Seconds that a process has to write down its stack before it is ended."""

LONGEST_STACK = 64 * 1024

_PLUGIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "plugin")

HEARD = "SIGVTALRM"
"""Name of the signal by which a run hears of its timeout; the interpreter handles it between two bytecodes."""

SHOW_STACK = "SIGXCPU"
"""Name of the signal upon which the C handler of `faulthandler` writes the stack, whatever the process is doing."""


class Watch:
    """A run that is being watched; times are those of the monotonic clock, which no correction moves."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.folder = Path(request["folder"])
        self.name = str(request["name"])
        self.attempt = int(request["attempt"])
        self.timeout = float(request["timeout"])
        self.grace = float(request["grace"])
        self.next_signal: float | None = float(request["deadline"])
        self.begin = self.next_signal - self.timeout
        self.end: float | None = None

    @property
    def next(self) -> float:
        """When something is to be done next."""
        return min(moment for moment in (self.next_signal, self.end) if moment is not None)


class Watcher:
    """Listens to the process `pid`, its parent; `terminal` is -1 where nothing is to be said."""

    def __init__(self, pid: int, requests: int, replies: int, stack: int, terminal: int) -> None:
        self._pid = pid
        self._requests = requests
        self._replies = replies
        self._stack = stack
        self._terminal = terminal
        self._process = -1
        with contextlib.suppress(AttributeError, OSError):  # Linux
            self._process = os.pidfd_open(pid)
        self._rest = b""
        self._watch: Watch | None = None
        os.set_blocking(requests, False)

    def work(self) -> None:
        """Watch until the process has gone, or has said that there is nothing more to watch."""
        while self._is_alive() and self._listen():
            watch = self._watch
            if watch is None or time.monotonic() < watch.next:
                self._wait(None if watch is None else watch.next - time.monotonic())
                continue
            # What the process has sent until now counts: see the beginning of this file.
            if not self._listen() or self._watch is not watch:
                continue
            now = time.monotonic()
            if watch.end is None:
                watch.end = now + watch.grace
            if now >= watch.end and self._is_stopped():
                watch.end = now + max(watch.grace, 1.0)  # it has its time when it goes on
            elif now >= watch.end:
                self._end(watch)
                return
            if watch.next_signal is not None:
                self._send(HEARD)
                watch.next_signal = now + AGAIN

    def _is_alive(self) -> bool:
        return os.getppid() == self._pid

    def _is_stopped(self) -> bool:
        """Whether somebody has stopped the process for a while, as Ctrl-Z and debuggers do."""
        try:
            text = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8", errors="replace")
            return text.rpartition(")")[2].split()[0] in "Tt"
        except (OSError, IndexError):
            return False

    def _wait(self, seconds: float | None) -> None:
        descriptors = [self._requests]
        if self._process >= 0:
            descriptors.append(self._process)
        elif seconds is None or seconds > 1.0:
            seconds = 1.0  # a forked child may hold the other end of the pipe open
        # Other than `select.select` it takes a descriptor of any number: a process may have thousands of files open.
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.poll(None if seconds is None else math.ceil(max(seconds, 0.0) * 1000))

    def _listen(self) -> bool:
        """Take what the process has sent; returns False when it sends nothing more."""
        while True:
            try:
                block = os.read(self._requests, 1 << 16)
            except BlockingIOError:
                return True
            if not block:
                return False
            *lines, self._rest = (self._rest + block).split(b"\n")
            for request in map(json.loads, lines):
                if request["do"] == "leave":  # children of the process may hold the pipe open
                    return False
                self._obey(request)

    def _obey(self, request: dict[str, Any]) -> None:
        if request["do"] == "begin":
            self._watch = Watch(request)
        elif request["do"] == "raised" and self._watch is not None:
            self._watch.next_signal = None
        elif request["do"] == "end":
            self._watch = None
        if request.get("reply"):
            os.write(self._replies, b"+")

    def _send(self, name: str) -> None:
        with contextlib.suppress(OSError):
            if self._process >= 0:
                signal.pidfd_send_signal(self._process, getattr(signal, name))
            else:
                os.kill(self._pid, getattr(signal, name))

    def _end(self, watch: Watch) -> None:
        """End the process; the record of the run is complete by then, and says why."""
        stack = self._stack_of()
        others = _descendants(self._pid) - {os.getpid()}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            _write_end(watch, stack)
        with contextlib.suppress(OSError):
            _write_log(watch, stack)
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                os.write(self._terminal, _message(watch).encode("utf-8", "backslashreplace"))
        self._send("SIGKILL")
        for pid in others:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _stack_of(self) -> str:
        before = os.fstat(self._stack).st_size
        self._send(SHOW_STACK)
        give_up, size = time.monotonic() + STACK_WAIT, before
        while time.monotonic() < give_up:
            time.sleep(0.02)
            last, size = size, os.fstat(self._stack).st_size
            if size == last > before:
                break
        return _of_user(os.pread(self._stack, LONGEST_STACK, before).decode("utf-8", "replace"))


def _of_user(stack: str) -> str:
    """Leave out the frames of the machinery that called the run; each thread begins with the innermost frame."""
    kept: list[str] = []
    is_outside = False
    for line in stack.splitlines(keepends=True):
        is_outside = bool(line.strip()) and (is_outside or f"{_PLUGIN}{os.sep}" in line)
        if not is_outside:
            kept.append(line)
    return "".join(kept)


def explain(timeout: float, grace: float) -> str:
    """Say in the words of an error why a run was ended."""
    return (
        f"the run took longer than its timeout of {timeout:g} s and did not end within {grace:g} s after it, so that "
        f"its process was ended"
    )


def _message(watch: Watch) -> str:
    return (
        f"\nTIMEOUT {watch.name}: {explain(watch.timeout, watch.grace)}\n"
        f"what it had recorded is in {watch.folder}; --resume goes on with the other runs, and comes to this one at "
        f"the end (with -n another process takes the place of one that was ended)\n"
    )


def _write_end(watch: Watch, stack: str) -> None:
    """Give the run its end, and to those of its children that are open."""
    from expedition.recording import layout

    meta = json.loads((watch.folder / layout.META_FILE).read_bytes())
    if meta["attempt"] != watch.attempt:
        return
    lasted = int((time.monotonic() - watch.begin) * 1e6)  # a clock may have been set meanwhile
    stop = _microseconds(meta["start"]) + lasted
    _write_end_of(watch.folder, watch, stop, stack)
    folders = [watch.folder]
    while folders:
        for file in folders.pop().glob(f"{layout.CHILDREN_FOLDER}/*/{layout.META_FILE}"):
            folders.append(file.parent)
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                _write_end_of(file.parent, watch, stop, stack)


def _write_end_of(folder: Path, watch: Watch, stop: int, stack: str) -> None:
    """Give an open run its end: with a problem in it, readers take what was recorded from the journal."""
    from expedition.recording import layout, outcomes
    from expedition.recording.files import dump_pretty, replace_file
    from expedition.recording.journal import parse_line
    from expedition.recording.meta import isoformat

    file = folder / layout.META_FILE
    meta = json.loads(file.read_bytes())
    if meta["status"] != outcomes.RUNNING:
        return
    meta["status"] = outcomes.TIMEOUT
    start = _microseconds(meta["start"])
    meta["stop"] = isoformat(max(stop, start))
    meta["duration"] = max(stop - start, 0) / 1e6
    meta["outcome"]["error"] = {
        "type": outcomes.RunTimeout.__name__,
        "message": explain(watch.timeout, watch.grace),
        "traceback": stack,
    }
    meta["outcome"]["problems"] = [
        "its data file, since its process was ended; what it stored is in its journal"
    ]
    with contextlib.suppress(OSError), open(folder / layout.JOURNAL_FILE, "rb") as journal:
        for line in journal:
            event = parse_line(line) if b'"e":"note"' in line else None
            if event is not None and isinstance(event.get("v"), str):
                meta["notes"].append(event["v"])
    replace_file(file, dump_pretty(meta))


def _microseconds(text: str) -> int:
    from datetime import datetime

    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def _write_log(watch: Watch, stack: str) -> None:
    from expedition.recording import layout

    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    text = f"{stamp}.{int(now % 1 * 1000):03d}Z {explain(watch.timeout, watch.grace)}\n{stack}"
    with open(watch.folder / layout.LOG_FILE, "ab") as log:
        log.write(text.encode("utf-8", "backslashreplace"))


def _descendants(pid: int) -> set[int]:
    """The processes that a process started, and those that these started; none where the system does not tell."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    new = [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, ()) if child not in found]
        found.update(new)
    return found


def main(arguments: list[str]) -> None:
    """Watch a process; `arguments` as at the beginning of this file."""
    sys.path.insert(0, arguments[0])
    Watcher(*map(int, arguments[1:])).work()


if __name__ == "__main__":
    main(sys.argv[1:])
