"""``expedition new``: every file that it writes runs at once."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from expedition import Archive
from expedition.cli import main as cli

BASE = r'''
"""A "base" with \\ everything: 'ü'."""
import enum
import pathlib
from typing import Literal

class Kind(enum.Enum):
    A = 1

# :param EPOCHS: how often; it is a long description that goes on and on, over more than one line of the file,
#     until it ends
EPOCHS: int = 3
RATE: float = 1e-5
HUGE: float = float("inf")
YES: str = "yes"
TIMES: str = "a: b  # ${HOME} $$"
EMPTY: str = ""
LINES: str = "one\ntwo\n\tthree \\ \"\"\" '"
GREEK: str = "αβγ 🎉\x85\u2028"
MAYBE: int | None = None
NONE = None
MODE: Literal["fast", "slow"] = "fast"
SIZES: list[int] = [1, 2]
NESTED: dict[str, list[float]] = {"a": [1e-7], "b: c": []}
BY_NUMBER: dict[int, str] = {1: "no"}
PAIR: tuple[int, str] = (1, "x")
BARE_PAIR = (1, 2)
SET = {1, 2}
KIND: Kind = Kind.A
PATH: pathlib.Path = pathlib.Path("a/b")
INHERITING: dict[str, int] = {"inherit": 3}
LONG: list[str] = ["a very long text number %d" % n for n in range(12)]
NO: bool = False
DEPTH: int = 1  # swept

@experiment.hook("load_words")
def load_words(e, path, *, encoding="utf-8", kind=Kind.A):
    """Return the words.

    One a line."""
    return [path]

@experiment.parametrize("DEPTH", [1, 2])
@experiment.parametrize("alpha", [0.1, 0.2])
def exp_base(e, alpha: float, word: str = "null", option: "int | None" = None, null=3, y: bool = True):
    words = e.apply_hook("load_words", path="p")
    e["words"] = len(words or [])
    e["more"] = e.apply_hook("more_words", count=3, default=0)
    e["alpha"] = alpha
'''


@pytest.fixture
def new(lab, monkeypatch, capsys):
    """Run ``expedition new`` in the project; return exit status and what it printed."""
    monkeypatch.chdir(lab.path)

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(["new", *arguments])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run


def written(answer: tuple[int, str]) -> None:
    code, said = answer
    assert code == 0, said


def valid(lab, *files: str) -> None:
    for file in files:
        lab.pytest("--experiment-validate", "--experiments", file).exits(0)


def parameters(lab, experiment: str) -> list[dict[str, object]]:
    # The class of KIND is that of the file under whatever name it was imported.
    return [
        {name: str(value) if name == "KIND" else value for name, value in record.params.items()}
        for record in lab.records(experiment=experiment)
    ]


@pytest.mark.parametrize(
    "description", ["", 'Say "x"', 'back\\slash """ ü', 'ends in "', "two\nlines\t\x00 %s {}"]
)
def test_a_new_experiment_runs(lab, new, description):
    code, said = new("experiment", "first", "-d", description)
    assert (code, said) == (0, "wrote exp_first.py\nrun it with: pytest --experiments exp_first.py\n")
    valid(lab, "exp_first.py")
    lab.run("-P", "STEPS=2", path="exp_first.py").exits(0)
    assert len(lab.records()) == 4
    if description:
        assert lab.manifest()["experiment"]["description"] == description
    lab.run("--testing", path="exp_first.py").exits(0)


def test_extensions_and_configs_have_every_value_of_their_base(lab, new):
    lab.experiment(BASE, "bases/exp_base.py")
    written(new("extend", "child", "--from", "bases/exp_base.py"))
    written(new("config", "exp_conf.yml", "--from", "bases/exp_base.py::exp_base", "-d", "a: 'b'"))
    written(new("extend", "exp_grandchild", "--from", "exp_conf.yml", "--folder", "deep/er"))
    files = ["exp_child.py", "exp_conf.yml", "deep/er/exp_grandchild.py"]
    valid(lab, *files)
    text = (lab.path / "exp_child.py").read_text(encoding="utf-8")
    assert "import *" not in text
    for name in ("exp_base", "exp_child", "exp_conf", "exp_grandchild"):
        lab.run(path=next(lab.path.rglob(f"{name}.*")).relative_to(lab.path)).exits(0)
    wanted = parameters(lab, "exp_base")
    assert len(wanted) == 4
    types = [type(v).__name__ for v in lab.records(experiment="exp_base")[0].params.values()]
    for name in ("exp_child", "exp_conf", "exp_grandchild"):
        assert parameters(lab, name) == wanted
        for record in lab.records(experiment=name):
            assert [type(v).__name__ for v in record.params.values()] == types
    assert "EPOCHS: int = 3" in text
    assert re.search(r"# :param EPOCHS: how often; .*\n#  .*until it ends\nEPOCHS", text)
    assert "PATH = INHERIT" in text
    assert '# "alpha": 0.1,' in text
    told = lab.records(experiment="exp_child")[0].meta["parameters"]["EPOCHS"]
    assert told["description"].endswith("until it ends")
    assert told["type"] == "int"
    config = (lab.path / "exp_conf.yml").read_text(encoding="utf-8")
    assert '  "YES": "yes"\n' in config
    assert "  RATE: 1e-05\n" in config
    assert "  PATH: {inherit: null}\n" in config


def test_hook_stubs_have_the_signatures_of_the_base_and_run_when_taken_up(lab, new):
    lab.experiment(BASE, "exp_base.py")
    written(new("extend", "child", "--from", "exp_base.py"))
    file = lab.path / "exp_child.py"
    text = file.read_text(encoding="utf-8")
    assert '# def load_words(e, path, *, encoding="utf-8", kind=...):\n' in text
    assert '#     """Return the words.\n#\n#     One a line.\n#     """\n' in text
    assert "# def more_words(e, count):\n" in text
    head, _, stubs = text.partition("take the comment signs away to fill one.\n")
    taken = re.sub(r"^# ?", "", stubs, flags=re.MULTILINE).replace("    ...\n", "    return 'abcd'\n")
    file.write_text(f"{head}\n{taken}", encoding="utf-8")
    lab.run(path="exp_child.py").exits(0)
    assert {(record.data["words"], record.data["more"]) for record in lab.records()} == {(4, "abcd")}


def test_what_a_new_config_shows_of_the_sweep_can_be_taken_up(lab, new):
    lab.experiment(BASE, "exp_base.py")
    written(new("config", "narrow", "--from", "exp_base.py"))
    file = lab.path / "exp_narrow.yml"
    text = file.read_text(encoding="utf-8")
    lines = [re.sub(r"^# (?!The)", "", line) for line in text.split("\n")]
    file.write_text("\n".join(lines).replace("[0.1, 0.2]", "[0.7]"), encoding="utf-8")
    lab.run(path="exp_narrow.yml").exits(0)
    assert sorted((r.params["alpha"], r.params["DEPTH"]) for r in lab.records()) == [(0.7, 1), (0.7, 2)]


def test_nothing_is_replaced_unless_asked(lab, new):
    lab.experiment(BASE, "exp_base.py")
    (lab.path / "exp_mine.py").write_text("mine")
    code, said = new("extend", "exp_mine", "--from", "exp_base.py")
    assert (code, said) == (4, "ERROR: exp_mine.py exists; give another name, or --force\n")
    assert (lab.path / "exp_mine.py").read_text() == "mine"
    written(new("extend", "exp_mine", "--from", "exp_base.py", "--force"))
    valid(lab, "exp_mine.py")
    before = (lab.path / "exp_base.py").read_bytes()
    assert "would extend itself" in new("extend", "exp_base", "--from", "exp_base.py", "--force")[1]
    assert (lab.path / "exp_base.py").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["experiment", "a-b"],
            "'a-b' cannot be the name of the file; use letters, digits and _, such as 'a_b'",
        ),
        (["experiment", "../a"], "cannot be the name of the file"),
        (["experiment", ""], "cannot be the name of the file"),
        (
            ["extend", "x", "--from", "exp_tow.py"],
            "there is no file 'exp_tow.py' (did you mean 'exp_two.py'",
        ),
        (
            ["extend", "x", "--from", "exp_two.py"],
            "say which, as in 'exp_two.py::exp_a' (there are exp_a, exp_b)",
        ),
        (["config", "x", "--from", "exp_two.py::exp_c"], "there is no experiment 'exp_c'"),
        (["config", "x", "--from", "exp_bad.py"], "parameter A must be int, but got 'x'"),
        (["analysis", "x"], "there is no sweep in "),
        (["analysis", "x", "--from", "2026-01"], "--from 2026-01: there is no such sweep folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_requests_write_nothing(lab, new, arguments, message):
    lab.experiment("@experiment\ndef exp_a(e): ...\n@experiment\ndef exp_b(e): ...\n", "exp_two.py")
    lab.experiment("A: int = 'x'\n@experiment\ndef exp_a(e): ...\n", "exp_bad.py")
    before = lab.files()
    code, said = new(*arguments)
    assert code == 4
    assert message in said
    assert "Traceback" not in said
    assert lab.files() == before


@pytest.fixture
def swept(lab):
    lab.experiment(
        """
        @experiment.parametrize("x", [1, 2])
        @experiment.replicate(2)
        def exp_a(e, x: int = 1):
            e["y"] = x / 2
            e["word"] = "a"
        """
    )
    lab.experiment("@experiment\ndef exp_b(e): ...\n", "exp_b.py")
    lab.run(path="exp_a.py").exits(0)
    lab.run(path="exp_b.py").exits(0)
    return lab


def test_an_analysis_script_shows_and_draws_the_sweep(swept, new):
    first = next(folder for folder in swept.sweeps() if "exp_a" in str(folder))
    written(new("analysis", "look", "--from", first.name, "--folder", "deep"))
    written(new("analysis", "last"))
    for script in ("deep/look.py", "last.py"):
        done = subprocess.run(
            [sys.executable, "-W", "error", script],
            cwd=swept.path,
            env={**os.environ, "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert (swept.path / script).with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
        assert ("4 runs (4 done)" if script == "deep/look.py" else "1 run (1 done)") in done.stdout


def test_an_analysis_notebook_is_plain_and_its_cells_run(swept, new, monkeypatch):
    newest = max(swept.sweeps(), key=lambda folder: (folder / "trajectory.h5").stat().st_mtime)
    written(new("analysis", "look", "--notebook"))
    notebook = json.loads((swept.path / "look.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "code"
        assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {})
    source = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"])
    script = swept.file("cells.py")
    script.write_text(source, encoding="utf-8")
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = runpy.run_path(str(script))
    assert Path(names["SWEEP"]).resolve() == newest.resolve()
    assert len(names["frame"]) == len(names["traj"]) == len(list(Archive(newest).runs()))
    names["traj"].close()
    import matplotlib.pyplot as plt

    plt.close(names["figure"])
