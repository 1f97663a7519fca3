"""Every example of the README and the docs runs as it stands on the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$\n*(<!--.*?-->)?", re.MULTILINE | re.DOTALL)
# The page reads the sweep of an experiment of another page.
CONTINUES = re.compile(r"<!-- continues (\S+): (\S+\.py) -->")
SWEEP = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-\w{4}")
# Blocks that are shown, not run: set-up commands, output, layouts.
SHOWN = {"", "text", "json", "ini", "sh setup-run", "sh setup-test", "toml", "yaml"}


SAMPLE = """
from expedition import experiment

@experiment.parametrize("alpha", [1, 2, 3, 4])
def exp_sample(e, alpha: int):
    e["rmse/mean"], e["note"] = 0.5 * alpha, f"run {alpha}"
    for fold in range(3):
        e.track("fold/rmse", fold * 0.1)
"""


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory for the pages that read one."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "exp_sample.py").write_text(SAMPLE, encoding="utf-8")
    done = run("pytest --experiments exp_sample.py", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("results/exp_sample/*/trajectory.h5"))


def run_what_it_continues(text: str, folder: Path) -> None:
    """Run the experiment of another page whose sweep the page with this text reads."""
    for page, name in CONTINUES.findall(text):
        blocks = FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
        (content,) = [block for _, block, _ in blocks if block.startswith(f"# {name}\n")]
        (folder / name).write_text(content, encoding="utf-8")
        done = run(f"pytest --experiments {name}", folder)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_the_page_run(page: Path, tmp_path: Path, trajectory: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shutil.copy(trajectory, tmp_path)
    run_what_it_continues(text, tmp_path)
    output = ""
    for language, content, comment in FENCE.findall(text):
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", content)
            file = tmp_path / (name[1] if name else "script.py")
            file.write_text(content, encoding="utf-8")
            if name is None:
                done = run(f"{sys.executable} script.py", tmp_path)
                assert done.returncode == 0, done.stdout + done.stderr
                file.unlink()
        elif language == "yaml" and (config := re.match(r"# (\w+\.yml)\n", content)):
            (tmp_path / config[1]).write_text(content, encoding="utf-8")
        elif language == "console":
            commands = [line[2:] for line in content.splitlines() if line.startswith("$ ")]
            assert commands, f"{page.name}: a console block without a command"
            refused = re.search(r"exit (\d)", comment)
            for position, command in enumerate(commands, 1):
                expected = int(refused[1]) if refused and position == len(commands) else 0
                done = run(command, tmp_path)
                assert done.returncode == expected, f"$ {command}\n{done.stdout}{done.stderr}"
                output = done.stdout
        elif language == "text" and output:
            # What is shown below a command is what it prints, but for the time in the name of a sweep.
            printed = SWEEP.sub("<sweep>", output).splitlines()
            missing = [line for line in SWEEP.sub("<sweep>", content).splitlines() if line not in printed]
            assert not missing, f"{page.name} shows what is not printed:\n{missing}\n{output}"
            output = ""
        else:
            assert language in SHOWN, f"{page.name}: nobody runs ```{language}"
