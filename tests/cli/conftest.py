"""The console script, called in this process in a project with an archive of runs of every fate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from expedition.cli import main as cli
from tests.mixed_archive import copy_mixed_archive


@dataclass(frozen=True)
class Answer:
    """Exit status, and what was printed."""

    code: int
    out: str
    err: str

    def exits(self, code: int) -> Answer:
        assert self.code == code, f"exit code {self.code}, wanted {code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err
        return self

    def says(self, *fragments: str) -> Answer:
        for fragment in fragments:
            assert fragment in self.out + self.err, f"{fragment!r} is not in\n{self.out}\n{self.err}"
        return self

    def omits(self, *fragments: str) -> Answer:
        for fragment in fragments:
            assert fragment not in self.out + self.err, f"{fragment!r} is in\n{self.out}\n{self.err}"
        return self


Expedition = Callable[..., Answer]


@pytest.fixture
def project(made_once: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with ``results``; it is the current folder."""
    folder = tmp_path / "project"
    copy_mixed_archive(made_once, folder, monkeypatch)
    return folder


@pytest.fixture
def expedition(capsys: pytest.CaptureFixture[str]) -> Expedition:
    """Call the console script."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Answer(code, shown.out, shown.err)

    return run
