"""`run`: experiments run from a program, a script or a notebook, by a pytest of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expedition.archive.record import RunRecord
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, ExperimentError, RecordNotFoundError, RunFailedError
from expedition.plugin import launch
from expedition.recording import outcomes

_OK, _FAILED, _INTERRUPTED, _USAGE, _NOTHING = 0, 1, 2, 4, 5
_OF_ANOTHER_PYTEST = (
    "PYTEST_CURRENT_TEST",
    "PYTEST_VERSION",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTEST_XDIST_TESTRUNUID",
)
_MESSAGE_LINES = 20


def run(
    path: str | os.PathLike[str],
    /,
    *,
    params: Mapping[str, Any] | None = None,
    workers: int | str = 0,
    keyword: str | None = None,
    where: str | None = None,
    archive: str | os.PathLike[str] | None = None,
    resume: bool = False,
    options: Sequence[str] = (),
    raise_on_failure: bool = False,
    quiet: bool = False,
) -> list[RunRecord]:
    """Run the experiments of a file or folder, as ``pytest --experiments PATH`` does; return their records.

    pytest runs in a process of its own, in the current folder: what was imported here, and changed, has no part
    in it. So it works in notebooks, and while pytest runs. Its output is written to ``sys.stdout``.

    Parameters
    ----------
    path : file, folder or ``exp_a.py::exp_a``.
    params : values by name, of one experiment with ``"exp_a:alpha"``. They arrive as they are, in value and type,
        and go before all options.
    workers : how many processes run at a time (``-n``).
    keyword, where, archive, resume : the options ``-k``, ``--where``, ``--archive`` and ``--resume``.
    options : further options of pytest.
    raise_on_failure : whether runs that did not end well raise.
    quiet : whether the output is kept back.

    Returns
    -------
    The records of all runs of the design that have begun, in its order, whatever became of them; with `resume`
    also of those that were settled before.

    Raises
    ------
    ExperimentError
        With pytest's message when it refuses the experiments or options; nothing has run then.
    RunFailedError
        When pytest itself came to a bad end, or with `raise_on_failure`. It has the records.
    KeyboardInterrupt
        After the runs in progress have ended as interrupted.
    """
    if params is not None and not isinstance(params, Mapping):
        raise ExperimentError(
            f"params must be a mapping of names to values, such as {{'alpha': 0.1}}, but got {params!r}"
        )
    arguments = ["--experiments", os.fspath(path)]
    if workers:
        arguments += ["-n", str(workers)]
    for option, value in (("-k", keyword), ("--where", where), ("--archive", archive)):
        if value is not None:
            arguments += [option, os.fspath(value)]
    if resume:
        arguments.append("--resume")
    with tempfile.TemporaryDirectory(prefix="expedition-") as name:
        folder = Path(name)
        launch.write_parameters(folder, params or {})
        code, output = _call([*arguments, *options], folder, quiet=quiet)
        told = launch.told_sweeps(folder)
        records = [record for sweep, keys in told for record in _records(sweep, keys)]
    if code == _USAGE or (code == _INTERRUPTED and not told):
        raise ExperimentError(_message(output))
    if code not in (_OK, _FAILED, _INTERRUPTED, _NOTHING):
        raise RunFailedError(f"pytest ended with {_end(code)}:\n{_message(output)}", records)
    if raise_on_failure and code in (_FAILED, _INTERRUPTED):
        raise RunFailedError(_failures(records) or _message(output), records)
    return records


def _call(arguments: Sequence[str], folder: Path, *, quiet: bool) -> tuple[int, str]:
    """Run pytest; return its exit code and what it printed last."""
    environment = {name: text for name, text in os.environ.items() if name not in _OF_ANOTHER_PYTEST}
    environment[launch.VARIABLE] = str(folder)
    process = subprocess.Popen(
        # -P: as the command pytest does, so that a project is found alike.
        [sys.executable, "-P", "-u", "-m", "pytest", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        process_group=0,  # of its own: a Ctrl-C of the terminal reaches it by way of this process, once
    )
    assert process.stdout is not None
    kept: list[str] = []
    interrupted = False
    while True:
        try:
            for line in process.stdout:
                kept.append(line)
                del kept[:-200]
                if not quiet:
                    sys.stdout.write(line)
                    sys.stdout.flush()
            code = process.wait()
            break
        except KeyboardInterrupt:
            # The first lets the runs end in order, the next one stops at once.
            interrupted = True
            process.send_signal(signal.SIGINT)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    process.stdout.close()
    if interrupted:
        raise KeyboardInterrupt
    return code, "".join(kept)


def _records(sweep: Path, keys: frozenset[str]) -> Iterable[RunRecord]:
    for entry in SweepFolder.open(sweep).entries:
        if entry.key in keys:
            try:
                yield RunRecord(sweep / entry.folder, sweep=sweep)
            except (RecordNotFoundError, DamagedError):  # it has not begun
                continue


def _message(output: str) -> str:
    """What pytest says is wrong: its lines that begin with ERROR and what follows, else the end of its output."""
    lines = output.rstrip().splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("ERROR: ")), None)
    if first is not None:
        return "\n".join(line.removeprefix("ERROR: ") for line in lines[first:])
    errors = [line.removeprefix("E   ") for line in lines if line.startswith("E   ")]
    return "\n".join(errors or lines[-_MESSAGE_LINES:]) or "pytest printed nothing"


def _end(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _failures(records: Sequence[RunRecord]) -> str:
    bad = [record for record in records if record.status not in outcomes.SETTLED]
    if not bad:
        return ""
    lines = [f"{len(bad)} of {len(records)} runs did not end well:"]
    for record in bad[:10]:
        error = f": {record.error.type}: {record.error.message}" if record.error else ""
        lines.append(f"  {record.experiment}[{record.id}] {record.status}{error.partition(chr(10))[0]}")
    return "\n".join([*lines, *(["  …"] if len(bad) > 10 else [])])
