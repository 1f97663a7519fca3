"""``expedition experiments``: what files and folders hold, found by collection."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Expedition
from tests.mixed_archive import files_of

SECRET = """
from expedition import Secret, experiment

PASSWORD: Secret[str] = "hunter2"

@experiment.hook("load")
def load(e, path):
    return None

@experiment.parametrize("n", range(40))
def exp_secret(e, n: int, needed: float = 1.0):
    e.apply_hook("load", path=1)
    e.apply_hook("save", default=None)
"""


@pytest.fixture(autouse=True)
def _modules_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console script collects in its own process, which a test shares with others."""
    for name in ("exp_secret", "exp_mix", "exp_other"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "exp_secret.py").write_text(SECRET)
    (tmp_path / "exp_b.yml").write_text("extend: inner/exp_secret.py\nparameters: {needed: 2.5}\n")
    return tmp_path


def test_a_folder(folder: Path, expedition: Expedition) -> None:
    before = files_of(folder)
    shown = expedition("experiments").exits(0)
    shown.says(
        "exp_secret  (inner/exp_secret.py, 40 runs)", "PASSWORD", "***", "(40 values)", "hooks: load, save"
    )
    shown.omits("hunter2")
    found = json.loads(expedition("experiments", "--format", "json").exits(0).omits("hunter2").out)
    by_file = {each["file"]: each for each in found}
    assert by_file["inner/exp_secret.py"]["parameters"]["needed"] == {
        "type": "float",
        "kind": "argument",
        "description": "",
        "default": "1.0",
    }
    assert by_file["inner/exp_secret.py"]["parameters"]["n"]["swept"] == [str(n) for n in range(40)]
    assert by_file["inner/exp_secret.py"]["hooks"] == ["load", "save"]
    assert by_file["exp_b.yml"]["parameters"]["needed"]["default"] == "2.5"
    assert files_of(folder) == before


def test_a_file_and_the_first_line_of_its_description(project: Path, expedition: Expedition) -> None:
    shown = expedition("experiments", "exp_mix.py").exits(0)
    shown.says("A mixture of fates.", "'ü'", "how many", "1, 2, 3, 4", "hooks: load")
    shown.omits("And more", "exp_other")


def test_what_is_wrong_is_told_beside_what_is_right(folder: Path, expedition: Expedition) -> None:
    (folder / "exp_broken.py").write_text("import nowhere_installed\n")
    answer = expedition("experiments").exits(4)
    assert "exp_secret" in answer.out
    assert "nowhere_installed" in answer.err
    expedition("experiments", "nothing.py").exits(4).says("nothing.py")
    (folder / "empty").mkdir()
    assert expedition("experiments", "empty").exits(4).out == ""
