"""Analyses: called after a run, again from its folder, and as a notebook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from expedition import Archive, RunRecord
from expedition.archive import analysis_notebook
from expedition.errors import OutputExistsError, RecordNotFoundError
from tests.plugin.conftest import IMPORTS, Lab
from tests.thoroughness import further

ANALYSED = """
from helper import half

N: int = 2

@experiment.parametrize("alpha", [1, 2])
def exp_a(e, alpha: int = 1):
    e["x"] = alpha * N

@experiment.analysis
def first(record):
    print("first", record.status, record.data, N, half(N))
    (record.path / "first.txt").write_text(str(N))

@experiment.analysis
def second(record):
    print("second", (record.path / "first.txt").read_text())
"""


@pytest.fixture
def analysed(lab: Lab) -> Lab:
    lab.file("helper.py", "def half(x): return x / 2\n")
    lab.experiment(ANALYSED, "02_basic.py")
    return lab


def script(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the analysis.py of a folder, in it, as a user would."""
    return subprocess.run(
        [sys.executable, "analysis.py"], cwd=folder, capture_output=True, text=True, timeout=120
    )


def said(record: RunRecord) -> list[str]:
    return [line for line in record.log.splitlines() if not line.startswith("20")]


class TestAfterTheRun:
    @pytest.mark.parametrize("workers", [(), *further(("-n2",))])
    def test_they_get_the_complete_record_in_order(self, analysed: Lab, workers: tuple[str, ...]) -> None:
        analysed.run("-P", "N=6", *workers, path="02_basic.py").exits(0)
        for alpha, record in enumerate(analysed.records(), 1):
            assert said(record) == [f"first done {{'x': {6 * alpha}}} 6 3.0", "second 6"]
            assert (record.path / "first.txt").read_text() == "6"

    def test_those_of_bases_come_first_then_those_of_mixins(self, lab: Lab) -> None:
        def tells(name: str) -> str:
            return f"{IMPORTS}@experiment.analysis\ndef {name}(record): print('{name}', WIDTH)\n"

        lab.file("mix.py", tells("mixed"))
        lab.file("exp_base.py", tells("base") + "WIDTH = 1\n@experiment\ndef exp_a(e): e['w'] = WIDTH\n")
        lab.file(
            "exp_child.py",
            tells("own")
            + "WIDTH = 5\nexperiment.include('mix.py')\nchild = experiment.extend('exp_base.py')\n",
        )
        lab.run(path="exp_child.py").exits(0)
        assert said(lab.record()) == ["base 5", "mixed 5", "own 5"]

    def test_they_come_after_after_run_and_only_after_success(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment.hook("after_run")
            def last(e): print("after_run")

            @experiment.parametrize("how", ["done", "failed", "skipped"])
            def exp_a(e, how: str):
                if how == "skipped": e.skip("no")
                assert how != "failed"

            @experiment.analysis
            def look(record): print("look")
            """
        )
        lab.run().exits(1)
        assert [said(record) for record in lab.records()] == [
            ["after_run", "look"], ["after_run"], ["after_run"],
        ]  # fmt: skip

    @pytest.mark.parametrize("workers", [(), ("-n2",)])
    def test_one_that_raises_is_reported_and_changes_nothing(
        self, lab: Lab, workers: tuple[str, ...]
    ) -> None:
        lab.experiment(
            """
            @experiment.parametrize("alpha", [1, 2, 3])
            def exp_a(e, alpha: int): e["x"] = alpha

            @experiment.analysis
            def bad(record):
                if record.params["alpha"] > 1:
                    raise KeyError("nothing")

            @experiment.analysis
            def ends(record): raise SystemExit(7)

            @experiment.analysis
            def good(record): print("good")
            """
        )
        outcome = lab.run(*workers).exits(0)
        outcome.says("analysis bad failed at exp_a.py:9 after 2 runs", "KeyError: 'nothing'")
        outcome.says("analysis ends failed at exp_a.py:12 after 3 runs", "SystemExit: 7")
        for record in lab.records():
            assert (record.status, record.error, list(record.data)) == ("done", None, ["x"])
            assert said(record)[-1] == "good"
        assert "KeyError" in lab.records()[1].log

    def test_what_they_change_is_put_back(self, lab: Lab) -> None:
        lab.experiment(
            """
            import random
            N = 1

            @experiment.parametrize("alpha", [1, 2])
            def exp_a(e, alpha: int): e["n"] = N

            @experiment.analysis
            def change(record):
                global N
                N = 99
                random.seed(0)
            """
        )
        import random

        random.seed(5)
        before = random.getstate()
        lab.run().exits(0)
        assert random.getstate() == before
        assert [record.data["n"] for record in lab.records()] == [1, 1]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "def look(): ...",
                "look: an analysis gets the record of the run and nothing else: def look(record)",
            ),
            ("def look(record, e): ...", "def look(record)"),
            ("async def look(record): ...", "look: an analysis must be a plain function"),
            (
                "@experiment\ndef exp_b(e): ...",
                "exp_b is an experiment already, and cannot be an analysis too",
            ),
        ],
    )
    def test_other_functions_are_refused(self, lab: Lab, text: str, says: str) -> None:
        lab.experiment(f"@experiment\ndef exp_a(e): ...\n@experiment.analysis\n{text}\n")
        lab.refused(workers=False).says("exp_a.py:", says)


class TestAgain:
    def test_from_a_copy_when_the_project_is_gone(self, analysed: Lab, tmp_path: Path) -> None:
        analysed.run("-P", "N=6", path="02_basic.py").exits(0)
        (sweep,) = analysed.sweeps()
        shutil.copytree(sweep, tmp_path / "copy")
        shutil.rmtree(analysed.path / "results")
        for name in ("02_basic.py", "helper.py"):
            os.unlink(analysed.path / name)
        (record, _) = Archive(tmp_path / "copy").runs()
        (record.path / "first.txt").unlink()
        before = set((tmp_path / "copy").rglob("*"))
        done = script(record.path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "analysis first (02_basic.py)",
            "first done {'x': 6} 6 3.0",
            "analysis second (02_basic.py)",
            "second 6",
        ]
        assert set((tmp_path / "copy").rglob("*")) - before == {record.path / "first.txt"}

    def test_the_code_is_that_of_the_sweep_and_its_names_hide_nothing(self, analysed: Lab) -> None:
        analysed.run(path="02_basic.py").exits(0)
        analysed.file("helper.py", "def half(x): return 'another'\n")
        record = analysed.records()[0]
        (record.path / "helper.py").write_text("raise ImportError('an artifact')")
        done = script(record.path)
        assert "first done {'x': 2} 2 1.0" in done.stdout, done.stderr

    def test_one_that_fails_shows_in_the_exit_code_and_the_others_get_their_turn(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment.parametrize("alpha", [1])
            def exp_a(e, alpha: int): e["x"] = alpha

            @experiment.analysis
            def bad(record): 1 / 0

            @experiment.analysis
            def good(record): print("good")
            """
        )
        lab.run().exits(0).says("analysis bad failed")
        done = script(lab.record().path)
        assert done.returncode == 1
        assert "analysis bad failed: ZeroDivisionError" in done.stderr
        assert "good" in done.stdout.splitlines()

    @pytest.mark.parametrize(
        ("imported", "collected"), [("from .tools", "exp_base.py"), ("from tools", "exp_c.yml")]
    )
    def test_of_packages_bases_and_configs(self, lab: Lab, imported: str, collected: str) -> None:
        lab.file("exps/__init__.py")
        lab.file("exps/tools.py", "WORD = 'tool'\n")
        lab.file(
            "exps/exp_base.py",
            f"{IMPORTS}{imported} import WORD as word\nN = 1\n"
            "@experiment.parametrize('N', [8])\n@experiment\ndef exp_a(e): e['n'] = N\n"
            "@experiment.analysis\ndef look(record): print('look', N, word)\n",
        )
        lab.file("exps/exp_c.yml", "extend: exp_base.py\n")
        lab.run(path=f"exps/{collected}").exits(0)
        record = lab.record()
        shutil.rmtree(lab.path / "exps")
        done = script(record.path)
        assert "look 8 tool" in done.stdout.splitlines(), done.stderr

    def test_an_unparametrized_run_shares_the_script_of_its_sweep(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment
            def exp_a(e): e["x"] = 5

            @experiment.analysis
            def look(record): print("look", record.data)
            """
        )
        lab.run().exits(0)
        done = script(lab.record().path)
        assert done.returncode == 0
        assert "1 run in" in done.stdout
        assert "look {'x': 5}" in done.stdout.splitlines()

    def test_without_analyses_there_is_no_script(self, lab: Lab) -> None:
        lab.experiment("@experiment.parametrize('alpha', [1])\ndef exp_a(e, alpha: int): ...")
        lab.run().exits(0)
        assert not (lab.record().path / "analysis.py").exists()


class TestNotebook:
    def test_its_cells_run_as_a_script(self, analysed: Lab, tmp_path: Path) -> None:
        analysed.run("-P", "N=6", path="02_basic.py").exits(0)
        notebook = analysis_notebook(analysed.records()[1], tmp_path / "nb")
        assert notebook == tmp_path / "nb" / "analysis.ipynb"
        content = json.loads(notebook.read_text(encoding="utf-8"))
        assert (content["nbformat"], len({cell["id"] for cell in content["cells"]})) == (
            4,
            len(content["cells"]),
        )
        code = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
        assert "RunRecord(" in code[0]
        assert any(text.startswith("def first(record):\n") for text in code)
        os.unlink(analysed.path / "helper.py")
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(code)], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1:] == ["first done {'x': 12} 6 3.0", "second 6"]

    def test_it_replaces_nothing_unasked(self, analysed: Lab, tmp_path: Path) -> None:
        analysed.run(path="02_basic.py").exits(0)
        record = analysed.records()[0]
        (tmp_path / "analysis.ipynb").write_text("mine")
        with pytest.raises(OutputExistsError, match="overwrite=True"):
            analysis_notebook(record, tmp_path)
        assert (tmp_path / "analysis.ipynb").read_text() == "mine"
        analysis_notebook(record, tmp_path, overwrite=True)
        assert "first" in (tmp_path / "analysis.ipynb").read_text()

    def test_lost_code_is_named(self, analysed: Lab, tmp_path: Path) -> None:
        analysed.run(path="02_basic.py").exits(0)
        (sweep,) = analysed.sweeps()
        os.rename(sweep / "source" / "02_basic.py", sweep / "source" / "02_basik.py")
        os.unlink(sweep / "source" / "experiment_code.py")
        with pytest.raises(
            RecordNotFoundError, match=r"no file '02_basic.py' \(did you mean '02_basik.py'\?\)"
        ):
            analysis_notebook(analysed.records()[0], tmp_path)


def test_the_code_of_two_sweeps_is_that_of_each(lab: Lab) -> None:
    """In a notebook that compares them, what both import by one name is two modules."""
    lab.experiment(
        """
        import tool
        from parts import part
        @experiment
        def exp_a(e): pass
        def version():
            import late
            return tool.VERSION, part.VERSION
        """
    )
    lab.file("parts/__init__.py")
    for version in (1, 2):
        for file in ("tool.py", "parts/part.py", "late.py"):
            lab.file(file, f"VERSION = {version}")
        lab.spawn("--experiments", "exp_a.py").exits(0)
    program = """
import sys
from expedition import Archive
from expedition.archive import experiment_code
sys.path.insert(0, ".")
import tool
for _ in range(2):
    print([experiment_code(record, "exp_a.py")["version"]() for record in Archive("results").runs()])
assert sys.modules["tool"] is tool
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=lab.path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[(1, 1), (2, 2)]"] * 2, done.stderr


@pytest.mark.parametrize("file", ["exp_a.py", "lib/exp_a.py"])
@pytest.mark.parametrize("collected", ["the file", "what extends it"])
def test_later_values_have_the_classes_of_the_kept_code(lab: Lab, file: str, collected: str) -> None:
    lab.file("lib/__init__.py")
    lab.experiment(
        """
        import enum
        from dataclasses import dataclass

        class Kind(enum.Enum):
            A = 1

        @dataclass
        class Options:
            depth: int = 3
            def twice(self): return 2 * self.depth

        OPTIONS: Options = Options()

        @experiment
        def exp_a(e, kind: Kind = Kind.A): pass

        @experiment.analysis
        def look(record): print("looked", record.params["kind"] is Kind.A, OPTIONS.twice())
        """,
        file,
    )
    path = lab.experiment(f"child = experiment.extend('{file}')", "exp_b.py")
    lab.spawn("--experiments", path if collected != "the file" else file).exits(0)
    folder = lab.record().path
    shutil.rmtree(lab.path / "lib")
    for left in lab.path.glob("exp_*.py"):
        left.unlink()
    done = subprocess.run(
        [sys.executable, folder / "analysis.py"], capture_output=True, text=True, check=False
    )
    assert "looked True 6" in done.stdout, done.stderr
