"""What a run prints, warns and logs goes to its log file as it happens, and so survives a kill."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TextIO

from expedition.recording.masking import NO_MASK, Mask

REPORT_LIMIT = 64 * 1024
"""Bytes of a run's output that a report carries at most."""

_LOG_FORMAT = logging.Formatter("%(levelname)s %(name)s: %(message)s")


class _Stream(io.TextIOWrapper):
    """Text written straight to the log, and to `echo` where the terminal is not captured.

    Code may keep it beyond its run (a `logging.StreamHandler` does): once `name_now` is set, what is written
    goes to the stream that has that name in `sys` at the time.
    """

    echo: TextIO | None = None
    mask: Mask = NO_MASK
    name_now = ""

    def write(self, text: str, /) -> int:
        if self.name_now:
            stream = getattr(sys, self.name_now)
            return len(text) if stream is None or stream is self else int(stream.write(text))
        text = self.mask.text(text)
        if self.echo is not None:
            try:
                self.echo.write(text)
            except UnicodeError:  # the terminal is stricter than the log
                self.echo.write(text.encode("ascii", "backslashreplace").decode())
        return super().write(text)

    def close(self) -> None:
        """Code that closes its standard output must not close the log."""
        self.flush()


class _LogHandler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.NOTSET)
        self._output = output
        self.setFormatter(_LOG_FORMAT)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.write_line(self.format(record))
        except Exception:
            self.handleError(record)


class Output:
    """Sends prints, warnings and logging of one run to `path`, between `redirect` and `release`.

    With `descriptors` the file descriptors 1 and 2 are redirected too, so that C code and child processes are
    heard; without `echo` nothing of it reaches the terminal. A run that says nothing leaves no file.
    """

    def __init__(
        self, path: str, *, descriptors: bool, echo: bool, level: int = logging.INFO, mask: Mask = NO_MASK
    ) -> None:
        self.path = path
        self._mask = mask
        self._descriptors = descriptors
        self._echo = echo
        self._level = level
        self._file = -1
        self._streams: tuple[TextIO, TextIO] | None = None
        self._made: dict[str, _Stream] = {}
        self._saved: tuple[int, int] | None = None
        self._levels = (logging.NOTSET, logging.NOTSET)
        self._showwarning: Any = warnings.showwarning
        self._record_factory: Callable[..., logging.LogRecord] = logging.LogRecord

    def start(self) -> None:
        """Open the log; raises `OSError` when it cannot be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o666)
        self._raw: Any = io.FileIO(self._file, "a", closefd=False)
        self._handler = _LogHandler(self)

    def redirect(self) -> None:
        """Send what is printed, warned and logged from now on to the log."""
        self._streams = (sys.stdout, sys.stderr)
        self._showwarning = warnings.showwarning
        sys.stdout, sys.stderr = self._stream(sys.stdout, "stdout"), self._stream(sys.stderr, "stderr")
        warnings.showwarning = self._show_warning
        root = logging.getLogger()
        before = root.level
        if root.level > self._level or root.level == logging.NOTSET:
            root.setLevel(self._level)
        self._levels = (before, root.level)
        root.addHandler(self._handler)
        self._record_factory = logging.getLogRecordFactory()
        if self._mask:  # the terminal and other handlers get the same records
            logging.setLogRecordFactory(functools.partial(_masked_record, self._record_factory, self._mask))
        if self._descriptors:
            self._saved = (os.dup(1), os.dup(2))
            os.dup2(self._file, 1)
            os.dup2(self._file, 2)

    def redirect_again(self) -> None:
        """Go on with the log where somebody has put other streams in its place since `redirect`, as a debugger does."""
        if self._streams is None or sys.stdout in self._made.values():
            return
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = self._stream(sys.stdout, "stdout"), self._stream(sys.stderr, "stderr")
        if self._saved is not None:
            for saved in self._saved:
                os.close(saved)
            self._saved = (os.dup(1), os.dup(2))
            os.dup2(self._file, 1)
            os.dup2(self._file, 2)

    def _stream(self, original: TextIO, name: str) -> TextIO:
        stream = self._made.get(name)
        if stream is None:
            stream = _Stream(self._raw, encoding="utf-8", errors="backslashreplace", write_through=True)
            stream.mask = self._mask
            self._made[name] = stream
        stream.echo = original if self._echo else None
        return stream

    def release(self) -> None:
        """Put back what `redirect` replaced."""
        if self._streams is None:
            return
        if self._saved is not None:
            _flush_c_streams()
            for descriptor, saved in enumerate(self._saved, 1):
                os.dup2(saved, descriptor)
                os.close(saved)
        root = logging.getLogger()
        root.removeHandler(self._handler)
        if self._mask:
            logging.setLogRecordFactory(self._record_factory)
        before, ours = self._levels
        if root.level == ours:  # a level that the run's own code has set is none of ours
            root.setLevel(before)
        warnings.showwarning = self._showwarning
        sys.stdout, sys.stderr = self._streams
        self._streams = self._saved = None

    def stop(self) -> None:
        """Close the log; an empty one is removed."""
        if self._file < 0:
            return
        self.release()
        for name, stream in self._made.items():
            stream.name_now = name
        self._made.clear()
        del self._handler  # it refers to this object, which would wait for the garbage collector
        if self._mask:  # what C code and child processes wrote went past us
            with contextlib.suppress(OSError):
                self._mask.file(self.path)
        size = os.fstat(self._file).st_size
        os.close(self._file)
        self._file = -1
        if size == 0:
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def write_line(self, text: str) -> None:
        """Append one line with the time (UTC) before it."""
        if self._file < 0:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = f"{stamp}.{int(now % 1 * 1000):03d}Z {self._mask.text(text)}\n"
        os.write(self._file, line.encode("utf-8", "backslashreplace"))

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self.write_line(f"WARNING {category.__name__}: {message} ({filename}:{lineno})")
        self._showwarning(message, category, filename, lineno, file, line)


def _masked_record(
    make: Callable[..., logging.LogRecord], mask: Mask, *arguments: Any, **keywords: Any
) -> logging.LogRecord:
    """Make a record of a log that has no secret in its message, nor in the traceback and the stack that it shows."""
    record = make(*arguments, **keywords)
    if record.exc_info:
        trace = _LOG_FORMAT.formatException(record.exc_info)
        if mask.text(trace) != trace:
            record.exc_info, record.exc_text = None, mask.text(trace)
    if record.stack_info:
        record.stack_info = mask.text(record.stack_info)
    try:
        text = record.getMessage()
    except Exception:  # logging itself says what is wrong with its arguments
        return record
    if mask.text(text) != text:
        record.msg, record.args = mask.text(text), None
    return record


def read_excerpt(path: str, limit: int = REPORT_LIMIT) -> str:
    """Return a log as text; of one with more than `limit` bytes the first and the last, and where the rest is.

    Without a log it is ``""``. Bytes that are no UTF-8 become ``\\ufffd``.
    """
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            if size <= limit:
                return stream.read(limit).decode("utf-8", "replace")
            note = f"\n… ({size:,} bytes in all: {path})\n"
            part = max((limit - len(note.encode())) // 2, 0)
            head = stream.read(part)
            stream.seek(size - part)
            tail = stream.read(part)
    except FileNotFoundError:
        return ""
    return f"{head.decode('utf-8', 'ignore')}{note}{tail.decode('utf-8', 'replace')}"


def _flush_c_streams() -> None:
    """Text that C code printed may still stand in its buffer; it must reach the log before the next run."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        _c_library().fflush(None)


@cache
def _c_library() -> Any:
    import ctypes

    return ctypes.CDLL(None)
