"""What code may change in its process and every later run would find: put back when a run ends."""

from __future__ import annotations

import contextlib
import gc
import locale
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expedition.recording.logging_state import LoggingState

Setting = tuple[Callable[[], Any], Callable[[Any], object]]
"""How something is read, and how it is put back."""

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM")
    if hasattr(signal, name)
)
"""Signals whose handlers are put back; libraries set those of others once, for as long as the process lives."""


class ProcessState:
    """Remembers what a run may change in its process, and puts back what it changed.

    That is the working directory, the environment, `logging`, the handlers of signals that end or wake a process,
    the mask of new files, the locale, the recursion limit, the garbage collector, the decimal context, the error
    state and print options of numpy, and the `rcParams` of matplotlib. Entries that stand twice in `sys.path` are
    taken out, and no others: what was imported stays imported, and may need them.

    One object serves one run after the other, of which none is inside of another. `is_of_project` tells files of the
    project, which run anew with every run, from those of libraries.
    """

    __slots__ = ("_decimal", "_logging", "_rc", "_settings")

    def __init__(self, is_of_project: Callable[[Path | None], bool]) -> None:
        self._settings: list[tuple[Setting, Any]] = []
        self._logging = LoggingState(is_of_project)
        self._rc: dict[str, Any] | None = None
        self._decimal: Any = None

    def remember(self) -> None:
        """Note what is now. It takes some 20 µs, a third of which are for the loggers."""
        self._settings = [(setting, setting[0]()) for setting in (*_SETTINGS, *_settings_of_numpy())]
        self._logging.remember()
        self._remember_rc()
        decimal = sys.modules.get("decimal")
        self._decimal = decimal.getcontext().copy() if decimal is not None else None

    def put_back(self) -> None:
        """Put back what has changed since `remember`; what cannot be put back stays, and costs no run."""
        if not self._settings:
            return
        for (read, write), before in self._settings:
            with contextlib.suppress(Exception):
                if read() != before:
                    write(before)
        self._settings = []
        self._logging.put_back()
        self._put_back_rc()
        if self._decimal is not None:
            sys.modules["decimal"].setcontext(self._decimal)
            self._decimal = None
        if len(set(sys.path)) != len(sys.path):
            sys.path[:] = dict.fromkeys(sys.path)

    def _remember_rc(self) -> None:
        rc = _rc()
        if rc is None:
            self._rc = None
        elif self._rc is None or not dict.__eq__(rc, self._rc):  # comparing takes half as long as copying
            self._rc = dict(dict.items(rc))

    def _put_back_rc(self) -> None:
        rc = _rc()
        if rc is not None and self._rc is not None and not dict.__eq__(rc, self._rc):
            # As `matplotlib.rc_context` does it: the backend is chosen once, by the first figure.
            dict.update(rc, {**self._rc, "backend": dict.get(rc, "backend")})


def _rc() -> Any:
    """matplotlib's `rcParams`, None where it is not imported; it is a dict that checks what is set."""
    return getattr(sys.modules.get("matplotlib"), "rcParams", None)


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _environment() -> dict[Any, Any]:
    # `os.environ` decodes every variable to copy itself, which takes longer than all the rest.
    raw = getattr(os.environ, "_data", None)
    return raw.copy() if isinstance(raw, dict) else dict(os.environ)


def _set_environment(before: dict[Any, Any]) -> None:
    now = _environment()
    decode: Any = getattr(os.environ, "decodevalue", str) if os.name == "posix" else str
    for name in now.keys() - before.keys():
        del os.environ[decode(name)]
    for name, value in before.items():
        if now.get(name) != value:
            os.environ[decode(name)] = decode(value)


def _signal_handlers() -> tuple[Any, ...]:
    return tuple(map(signal.getsignal, _SIGNALS))


def _set_signal_handlers(before: tuple[Any, ...]) -> None:
    for number, handler in zip(_SIGNALS, before, strict=True):
        if handler is not None and signal.getsignal(number) != handler:
            if number == getattr(signal, "SIGALRM", None):
                signal.alarm(0)  # the handler that it was meant for is taken away
            signal.signal(number, handler)


def _mask_of_files() -> int:
    # It can be read only by setting it; what another thread makes meanwhile is not to be open to others.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _set_collection(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()


_SETTINGS: tuple[Setting, ...] = (
    (_directory, os.chdir),
    (_environment, _set_environment),
    (_signal_handlers, _set_signal_handlers),
    (_mask_of_files, os.umask),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (gc.isenabled, _set_collection),
    (gc.get_threshold, lambda thresholds: gc.set_threshold(*thresholds)),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
)


def _settings_of_numpy() -> tuple[Setting, ...]:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return ()
    return (
        (numpy.geterr, lambda state: numpy.seterr(**state)),
        (numpy.get_printoptions, lambda options: numpy.set_printoptions(**options)),
    )
