"""An archive with runs of every fate: done, failed, crashed, damaged, of testing mode, and of a second experiment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MIX = '''"""A mixture of fates."""
import os
from expedition import experiment

SIZE: int = 3  # how many

@experiment.parametrize("a", [1, 2, 3, 4])
def exp_mix(e, a: int, word: str = "ü"):
    """A mixture of fates.

    And more of it."""
    e.apply_hook("load", path="p", default=None)
    e["rmse/mean"] = 1.5 * a
    e.track("loss", a)
    if a == 2:
        raise ValueError("bad a")
    if a == 4 and "SAFE" not in os.environ:
        os._exit(1)
'''
OTHER = """
from expedition import experiment

@experiment
def exp_other(e, gain: float = 0.5):
    e["power"] = gain
"""


def make_mixed_archive(folder: Path) -> None:
    """Run the experiments in `folder`, and damage a run of the archive ``results``."""
    (folder / "exp_mix.py").write_text(MIX, encoding="utf-8")
    (folder / "exp_other.py").write_text(OTHER, encoding="utf-8")
    for arguments, environment in (
        (["exp_mix.py"], {}),
        (["exp_mix.py", "--testing", "--where", "a == 1"], {"SAFE": "1"}),
        (["exp_other.py", "--tag", "plain"], {}),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--rootdir", ".", "--experiments", *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
    (damaged,) = folder.glob("results/exp_mix/*/*-a=3")
    (damaged / "experiment_meta.json").write_text("{broken", encoding="utf-8")


def copy_mixed_archive(made_once: object, target: Path, patch: pytest.MonkeyPatch) -> None:
    """Put a copy of the project into `target`, and go there."""
    source = made_once("mixed", make_mixed_archive)  # type: ignore[operator]
    shutil.copytree(source, target, dirs_exist_ok=True)
    patch.chdir(target)
    patch.delenv("PYTEST_ADDOPTS", raising=False)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, the index and what Python and pytest cache excepted."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not {"__pycache__", ".pytest_cache", ".expedition"} & {*path.relative_to(folder).parts}
    }
