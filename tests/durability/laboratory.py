"""A project folder with experiment files, and real pytest processes at work in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from expedition import Archive, RunRecord
from expedition.archive.commits import latest_commits
from expedition.archive.sweep import SweepFolder

PATIENCE = 90.0
"""Seconds after which a process that does not do what it should is given up; no test waits for it to pass."""


class Result:
    """What one invocation printed, and its exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text

    def exits(self, code: int) -> Result:
        assert self.code == code, f"exit code {self.code}, wanted {code}\n{self.text[-4000:]}"
        return self


class Laboratory:
    """The project folder `path`; into `side` experiments write what the archive shall not know."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.side = path / "side"
        self.side.mkdir(parents=True)
        (path / "pytest.ini").write_text("[pytest]\nexperiment_archive = results\n", encoding="utf-8")

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *map(str, arguments)]

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return {
            **kept,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": "-p no:hypothesispytest",  # its summary takes a second
            "SIDE": str(self.side),
            "MPLBACKEND": "agg",
            **changes,
        }

    def pytest(self, *arguments: object, **environment: str) -> Result:
        """Run pytest to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE,
        )
        return Result(done.returncode, done.stdout)

    def run(self, *arguments: object, **environment: str) -> Result:
        """Run the experiments of the folder to their end."""
        return self.pytest("--experiments", ".", *arguments, **environment)

    def start(self, *arguments: object, **environment: str) -> Started:
        """Start the experiments of the folder, in a process group of their own."""
        return Started(self, self.command("--experiments", ".", *arguments), self.environment(**environment))

    @property
    def archive(self) -> Archive:
        return Archive(self.path / "results")

    def records(self) -> dict[str, RunRecord]:
        """The runs of the archive by id; of several sweeps the last."""
        return {record.id: record for record in self.archive.runs()}

    def statuses(self) -> dict[str, str]:
        return {name: record.status for name, record in self.records().items()}

    def sweep(self) -> Path:
        """The only sweep folder."""
        (only,) = (sweep.path for sweep in self.archive.sweeps())
        return only

    def commits(self) -> dict[str, dict[str, Any]]:
        """What the commit logs say of every run that was started, by id."""
        sweep = SweepFolder.open(self.sweep())
        return {sweep.entries[line["index"]].id: line for line in latest_commits(sweep)}

    def acknowledged(self, name: str) -> list[Any]:
        """JSON lines that a run has written beside the archive; a torn last one was never acknowledged."""
        file = self.side / name
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]


class Started:
    """A running invocation."""

    def __init__(self, lab: Laboratory, command: list[str], environment: dict[str, str]) -> None:
        self.log = lab.path / "pytest.out"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=lab.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds; the process has to be alive all the time."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.kill_all()
                raise AssertionError(f"this was waited for in vain:\n{self.text()}")
            time.sleep(0.02)

    def signal(self, number: int, *, group: bool = False) -> None:
        if group:
            os.killpg(self.process.pid, number)
        else:
            os.kill(self.process.pid, number)

    def kill_all(self) -> None:
        """``kill -9`` of the process and its workers, and wait until all of them are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        give_up = time.monotonic() + PATIENCE
        while self.alive() and time.monotonic() < give_up:
            time.sleep(0.02)
        assert not self.alive()

    def alive(self) -> bool:
        """Whether a process of the group runs still; one that is dead and not yet reaped does not count."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.process.pid and fields[0] not in "ZX":
                return True
        return False

    def end(self) -> Result:
        """Wait for the end."""
        code = self.process.wait(PATIENCE)
        return Result(code, self.text())

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def small_file_system(folder: Path, megabytes: int = 6) -> Iterator[Path | None]:
    """A file system of its own that is soon full; None where this user cannot mount any."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        yield None
        return
    options = f"size={megabytes}m"
    done = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
