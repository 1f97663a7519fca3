"""A laboratory: a project folder with experiment files, and pytest run on it.

Runs are in-process where nothing can leak (about 0.1 s), in a fresh interpreter where that matters.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expedition import Archive, RunRecord

_QUICK = ("-p", "no:hypothesispytest")  # its summary imports all of hypothesis, once per in-process run

IMPORTS = "from expedition import experiment\n"


class Outcome:
    """What one invocation of pytest printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.text = f"{out}\n{err}"

    def exits(self, code: int) -> Outcome:
        assert self.code == code, f"exit code {self.code}, wanted {code}\n{self.text}"
        return self

    def says(self, *fragments: str) -> Outcome:
        for fragment in fragments:
            assert fragment in self.text, f"{fragment!r} is not in\n{self.text}"
        return self

    def omits(self, *fragments: str) -> Outcome:
        for fragment in fragments:
            assert fragment not in self.text, f"{fragment!r} is in\n{self.text}"
        return self

    def ids(self) -> list[str]:
        """Node ids that ``--collect-only -q`` printed."""
        return [line for line in self.out.splitlines() if "::" in line]

    def errors(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith("ERROR: ")]


class Lab:
    """The project folder; files are dedented, experiment files get the import of `experiment`."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def file(self, name: str, text: str = "") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime if path.exists() else 0.0
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        if (
            path.stat().st_mtime < before + 1
        ):  # Python tells an edited file from the compiled one by the second
            os.utime(path, (before + 1, before + 1))
        return path

    def experiment(self, text: str, name: str = "exp_a.py") -> Path:
        return self.file(name, IMPORTS + textwrap.dedent(text))

    def pytest(self, *arguments: object) -> Outcome:
        """Run pytest inside of this process."""
        return self._outcome(self.pytester.runpytest_inprocess(*_QUICK, *map(str, arguments)))

    def run(self, *arguments: object, path: str = ".") -> Outcome:
        """Run the experiments below `path` inside of this process."""
        return self.pytest("--experiments", path, *arguments)

    def spawn(self, *arguments: object, **environment: str) -> Outcome:
        """Run pytest in a process of its own."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return self._outcome(
                self.pytester.runpytest_subprocess(*_QUICK, *map(str, arguments), timeout=120)
            )

    def refused(self, *arguments: object, workers: bool = True) -> Outcome:
        """The invocation is a usage error that leaves nothing behind, also when workers are asked for."""
        before = self.files()
        outcome = self.run(*arguments).exits(pytest.ExitCode.USAGE_ERROR)
        assert self.files() == before
        assert "Traceback" not in outcome.text, outcome.text
        assert outcome.errors(), outcome.text
        if workers:
            distributed = self.run(*arguments, "-n2").exits(pytest.ExitCode.USAGE_ERROR)
            assert distributed.errors() == outcome.errors()
            assert self.files() == before
        return outcome

    def files(self) -> set[str]:
        """Every file and folder of the project but caches."""
        found = (p.relative_to(self.path).as_posix() for p in self.path.rglob("*"))
        return {name for name in found if "__pycache__" not in name and ".pytest_cache" not in name}

    @property
    def archive(self) -> Archive:
        return Archive(self.path / "results")

    def records(self, **wanted: object) -> list[RunRecord]:
        """All runs of the archive, in order; those of the experiment or status wanted only."""
        return [r for r in self.archive.runs() if all(getattr(r, k) == v for k, v in wanted.items())]

    def record(self, **wanted: object) -> RunRecord:
        (only,) = self.records(**wanted)
        return only

    def statuses(self) -> dict[str, str]:
        """Status by run id, the last sweep winning."""
        return {record.id: record.status for record in self.records()}

    def sweeps(self) -> list[Path]:
        return sorted(path.parent for path in (self.path / "results").rglob("sweep.json"))

    def manifest(self) -> dict[str, Any]:
        (sweep,) = self.sweeps()
        content: dict[str, Any] = json.loads((sweep / "sweep.json").read_bytes())
        return content

    @staticmethod
    def _outcome(result: pytest.RunResult) -> Outcome:
        return Outcome(int(result.ret), result.stdout.str(), result.stderr.str())


@pytest.fixture
def lab(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in (
        "PYTEST_ADDOPTS",
        "PYTEST_XDIST_WORKER",
        "PYTEST_XDIST_WORKER_COUNT",
        "PYTEST_XDIST_TESTRUNUID",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files rewritten within a second must be read anew
    before = {name for name in os.environ if name.endswith("_THREADS")}
    yield Lab(pytester)
    left = {name for name in os.environ if name.endswith("_THREADS")} - before
    assert not left, f"a run left variables in the environment: {left}"
