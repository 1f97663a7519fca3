"""Timeouts: a run that takes too long is stopped, with time to save its state; what cannot be stopped is ended.

Two parts work together. In this process a signal handler raises `RunTimeout` in the main thread, but only while code of
the run is running, never in that of pytest or while a record is being written. The watcher, a process of its own, sends
that signal, and ends this process if the run is not over within the grace period: see `expedition.recording.watcher`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TYPE_CHECKING, Any

import pytest

from expedition.authoring.plan import SweepPlan
from expedition.plugin.settings import Settings
from expedition.plugin.signals import Signals
from expedition.recording.outcomes import RunTimeout
from expedition.recording.steps import STEPS

if TYPE_CHECKING:
    import subprocess

CAN_TIME_OUT = all(hasattr(signal, name) for name in ("SIGVTALRM", "SIGXCPU", "SIGKILL"))
"""Whether this system has the signals that timeouts need; Windows has not."""


def timeout_of(plan: SweepPlan, settings: Settings) -> float | None:
    """Seconds that one attempt of a run may take, None for any; ``--run-timeout`` goes before what its files say."""
    return plan.lineage.timeout if settings.run_timeout is None else settings.run_timeout or None


def why_impossible(plan: SweepPlan, settings: Settings, *, is_here: bool) -> str | None:
    """Say why a plan cannot have the timeout that it has; None where it can, or has none.

    `is_here` says that its runs are executed in this thread.
    """
    if timeout_of(plan, settings) is None:
        return None
    if not CAN_TIME_OUT:
        return (
            f"{plan.name}: this system has not the signals that a timeout needs; run it without one (--run-timeout 0), "
            f"or on Linux or macOS"
        )
    if is_here and threading.current_thread() is not threading.main_thread():
        return (
            f"{plan.name}: pytest works in the thread {threading.current_thread().name}, and only the main thread "
            f"hears of a timeout; run it in workers (-n 1), without a timeout (--run-timeout 0), or from expedition.run"
        )
    return None


class Deadline:
    """The timeout of one attempt, from its begin to the end of its call.

    Used as a context manager it lets the timeout interrupt the block. Such blocks may be nested: the fixtures that a
    function asks for in its grace period are set up as ever.

    Attributes
    ----------
    error : what was raised when the time was over, None until then.
    """

    def __init__(self, timeouts: Timeouts, seconds: float) -> None:
        self._timeouts = timeouts
        self._seconds = seconds
        self._depth = 0
        self.moment = time.monotonic() + seconds
        self.error: RunTimeout | None = None
        self.is_over = False

    @property
    def can_interrupt(self) -> bool:
        """Whether the code that is running may be interrupted."""
        return self._depth > 0 and self.error is None and not self.is_over

    def __enter__(self) -> None:
        if not self._depth:
            self._check()
        self._depth += 1

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._depth -= 1
        if error is None and not self._depth:
            self._check()

    def _check(self) -> None:
        """Raise `RunTimeout` when the time is over, whoever was to say so, also when it was raised and swallowed."""
        if self.is_over:
            return
        if self.error is not None:
            raise self.error
        if time.monotonic() >= self.moment:
            self.interrupt()

    def interrupt(self) -> None:
        """Raise `RunTimeout`; from now on the run is in its grace period."""
        __tracebackhide__ = True  # pytest names the line where the run was
        self.error = RunTimeout(self._seconds)
        self._timeouts.tell({"do": "raised"})
        raise self.error

    def end(self) -> None:
        """Time no longer counts: the call is over. May be called again."""
        if not self.is_over:
            self.is_over = True
            self._timeouts.release(self, ask=time.monotonic() >= self.moment)


class Timeouts:
    """The deadlines of the runs of this process, one at a time, and the watcher."""

    def __init__(self, config: pytest.Config, settings: Settings, signals: Signals) -> None:
        self._config = config
        self._settings = settings
        self._signals = signals
        self._current: Deadline | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._requests = self._replies = -1
        self._process = 0
        self._stack: IO[bytes] | None = None
        self._handler_before: Any = None
        self._terminal = -1
        # Somebody who looks around in a debugger takes the time that it takes.
        self._is_off = bool(config.getoption("usepdb", False) or config.getoption("trace", False))

    def begin(self, plan: SweepPlan, folder: Path, name: str, attempt: int) -> Deadline | None:
        """Let the time of an attempt begin; None when its experiment has no timeout.

        `folder` is the run folder, `name` what the terminal calls the run.
        """
        seconds = timeout_of(plan, self._settings)
        if seconds is None or self._is_off or not CAN_TIME_OUT:
            return None
        self._start()
        deadline = self._current = Deadline(self, seconds)
        self.tell(
            {
                "do": "begin",
                "folder": str(folder),
                "name": name,
                "attempt": attempt,
                "timeout": seconds,
                "grace": self._settings.timeout_grace,
                "deadline": deadline.moment,
            }
        )
        return deadline

    def release(self, deadline: Deadline, *, ask: bool) -> None:
        """Take note that the time of an attempt counts no longer; with `ask` wait until the watcher knows."""
        if self._current is deadline:
            self._current = None
        self.tell({"do": "end", "reply": ask})
        if ask and self._is_own and not os.read(self._replies, 1):
            warnings.warn(
                "the process that watches over timeouts has ended: a run that did not return by itself would not "
                "have been ended; the next run with a timeout starts another one",
                stacklevel=2,
            )

    def tell(self, request: dict[str, Any]) -> None:
        """Send a request to the watcher. One that was killed costs the last resort, and no run."""
        if self._is_own:
            line = json.dumps(request).encode() + b"\n"
            with contextlib.suppress(OSError):
                while line:
                    line = line[os.write(self._requests, line) :]

    @property
    def _is_own(self) -> bool:
        """Whether the watcher is that of this process: a forked child has none, and must not speak for its parent."""
        return self._requests >= 0 and self._process == os.getpid()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Take hold of the terminal for the last words on this process, before output is captured."""
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if hasattr(self._config, "workerinput") or reporter is None or self._terminal >= 0:
            return  # the controller has the last word on a worker
        with contextlib.suppress(OSError, AttributeError, ValueError):
            self._terminal = os.dup(reporter._tw._file.fileno())

    @pytest.hookimpl
    def pytest_enter_pdb(self) -> None:
        """Let a run that stops at a breakpoint take the time that it takes."""
        if self._current is not None:
            self._current.end()

    def close(self) -> None:
        """Let the watcher go, and put back what handled its signals."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self._watcher is None or not self._is_own:
            return
        import faulthandler

        if self._current is not None:
            self._current.end()
        if self._handler_before is not None:
            signal.signal(signal.SIGVTALRM, self._handler_before)
            self._handler_before = None
        faulthandler.unregister(signal.SIGXCPU)
        self.tell({"do": "leave"})
        os.close(self._requests)
        os.close(self._replies)
        self._requests = self._replies = -1
        self._watcher.wait()
        self._watcher = None
        if self._stack is not None:
            self._stack.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        if self._is_due and not STEPS.put_off(frame, self._interrupt):
            self._interrupt()

    @property
    def _is_due(self) -> bool:
        """Whether the run that is going on is to be interrupted now."""
        deadline = self._current
        if deadline is None or self._signals.are_held_back or time.monotonic() < deadline.moment:
            return False
        return deadline.can_interrupt

    def _interrupt(self) -> None:
        __tracebackhide__ = True
        if self._current is not None and self._is_due:
            self._current.interrupt()

    def _listen(self) -> None:
        """Hear the signals of the watcher, also when an earlier run has taken them for itself."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGVTALRM) != self._handle:
            before = signal.signal(signal.SIGVTALRM, self._handle)
            if self._stack is None:
                self._handler_before = before if before is not None else signal.SIG_DFL
        if self._stack is None:
            import faulthandler
            import tempfile

            self._stack = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this process
            faulthandler.register(signal.SIGXCPU, file=self._stack, all_threads=True, chain=False)

    def _start(self) -> None:
        """Start the watcher at the first run that has a timeout, and another one where that was ended."""
        self._listen()
        if self._watcher is not None:
            if self._watcher.poll() is None:
                return
            os.close(self._requests)
            os.close(self._replies)
        import subprocess

        from expedition.recording import watcher

        assert self._stack is not None
        self._process = os.getpid()
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        given = (requests, replies, self._stack.fileno())
        program = [sys.executable, "-I", "-S", watcher.__file__, str(Path(watcher.__file__).parents[2])]
        numbers = (os.getpid(), *given, self._terminal)
        self._watcher = subprocess.Popen(
            [*program, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(*given, self._terminal) if self._terminal >= 0 else given,
            start_new_session=True,  # what is typed at the terminal is not for it
        )
        os.close(requests)
        os.close(replies)
