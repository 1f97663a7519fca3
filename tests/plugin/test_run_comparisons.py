"""``--archive-diff``: all that differs between two runs, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition import Archive, Run, RunRecord
from expedition.errors import ExperimentError
from expedition.reporting import code_differences, comparison
from expedition.reporting.comparison import diff_runs
from expedition.reporting.fitting import text_width
from expedition.values import decode

from .conftest import Lab


def found(first: RunRecord, second: RunRecord) -> dict[str, Any]:
    """What a comparison says to programs, without the duration, which hardly is the same twice."""
    content = json.loads(
        diff_runs(first, second, format="json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    content["differences"]["run"].pop("duration", None)
    return {part: changes for part, changes in content["differences"].items() if changes}


def names(differences: dict[str, Any]) -> dict[str, set[str]]:
    return {part: set(changes) for part, changes in differences.items()}


RECORDING = """
import numpy as np

SAME: int = 1
LR: float = 0.1
KIND: object = 1
ONLY_FIRST: str = "x"

@experiment
def exp_a(e, alpha: float = 1.0):
    e["same"] = [1.5, float("nan"), {"a": None}]
    e["same_array"] = np.arange(500.0)
    e["score"] = 2.0
    e["typed"] = 1
    e["array"] = np.arange(600.0).reshape(20, 30)
    e["shape"] = np.zeros(3)
    e["gone"] = "first"
    for i in range(10):
        e.track("same", i / 7)
        e.track("loss", 1.0 / (i + 1))
        e.track("longer", i)
        e.track("field", np.full(200, float(i)))
        e.track("kind", i)
    e.track("series_gone", 1)
    e.commit("same.txt", "same")
    e.commit("changed.txt", "first")
    e.commit("gone.txt", "first")
    e.annotate("score", "the score", unit="mm")
    e.derived("same", 3)
    e.derived("double", 2 * alpha)
    e.tag("first")
    e.note("a note")
"""
RECORDING_LATER = (
    RECORDING.replace("LR: float = 0.1", "LR: float = 0.25")
    .replace("KIND: object = 1", "KIND: object = 1.0")
    .replace('ONLY_FIRST: str = "x"', 'ONLY_SECOND: str = "x"')
    .replace('["score"] = 2.0', '["score"] = 2.5')
    .replace('["typed"] = 1', '["typed"] = 1.0')
    .replace("reshape(20, 30)", "reshape(20, 30) + (np.arange(30) == 7) * 4")
    .replace("np.zeros(3)", "np.zeros(4)")
    .replace('["gone"]', '["new"]')
    .replace("1.0 / (i + 1)", "1.0 / (i + 1) + (i == 4) / 8")
    .replace('"longer", i)', '"longer", i); i == 9 and e.track("longer", 10)')
    .replace("np.full(200, float(i))", "np.full(200, float(i) + (i > 7))")
    .replace('"kind", i)', '"kind", float(i))')
    .replace('"series_gone"', '"series_new"')
    .replace('"changed.txt", "first"', '"changed.txt", "second"')
    .replace('"gone.txt"', '"new.txt"')
    .replace('unit="mm"', 'unit="m"')
    .replace("2 * alpha", "3 * alpha")
    .replace('tag("first")', 'tag("second")')
    + '    assert alpha < 0, "negative"\n'
)


@pytest.fixture
def two(lab: Lab) -> tuple[RunRecord, RunRecord]:
    """Runs of two sweeps with one known difference of every kind."""
    lab.experiment(RECORDING)
    lab.run().exits(0)
    lab.experiment(RECORDING_LATER)
    lab.run().exits(1)
    first, second = lab.records()
    return first, second


class TestExactness:
    def test_all_and_only_the_differences(self, two: tuple[RunRecord, RunRecord]) -> None:
        differences = found(*two)
        assert names(differences) == {
            "run": {"code", "status", "error", "tags", "seed"},
            "parameters": {"LR", "KIND", "ONLY_FIRST", "ONLY_SECOND"},
            "derived_parameters": {"double"},
            "data": {"score", "typed", "array", "shape", "gone", "new"},
            "units_and_comments": {"score: unit"},
            "series": {"loss", "longer", "field", "kind", "series_gone", "series_new"},
            "artifacts": {"changed.txt", "gone.txt", "new.txt"},
            "code": {"exp_a.py"},
        }
        kinds = {
            name: change["kind"]
            for part in ("parameters", "data", "series", "artifacts")
            for name, change in differences[part].items()
        }
        assert kinds == {
            **dict.fromkeys(
                ["LR", "score", "array", "shape", "loss", "longer", "field", "changed.txt"], "value"
            ),
            **dict.fromkeys(["KIND", "typed", "kind"], "type"),
            **dict.fromkeys(["ONLY_FIRST", "gone", "series_gone", "gone.txt"], "removed"),
            **dict.fromkeys(["ONLY_SECOND", "new", "series_new", "new.txt"], "added"),
        }

    def test_by_how_much(self, two: tuple[RunRecord, RunRecord]) -> None:
        differences = found(*two)
        assert differences["parameters"]["LR"]["absolute"] == 0.15
        assert differences["parameters"]["LR"]["relative"] == pytest.approx(1.5)
        score = differences["data"]["score"]
        assert (score["first"], score["second"], score["absolute"], score["relative"]) == (
            2.0,
            2.5,
            0.5,
            0.25,
        )
        array = differences["data"]["array"]
        assert (array["elements"], array["of"], array["largest"], array["at"]) == (20, 600, 4.0, [0, 7])
        loss = differences["series"]["loss"]
        assert (loss["differing"], loss["compared"], loss["step"]) == (1, 10, 4)
        assert loss["largest"] == pytest.approx(0.125)
        assert loss["first"]["last"] == loss["second"]["last"] == 0.1
        longer = differences["series"]["longer"]
        assert (longer["first"], longer["second"]) == ({"n": 10, "last": 9}, {"n": 11, "last": 10})
        assert longer["text"] == "10 → 11 values"
        field = differences["series"]["field"]
        assert (field["differing"], field["largest"], field["step"]) == (2, 1.0, 8)
        changed = differences["artifacts"]["changed.txt"]
        assert changed["first"]["sha256"] != changed["second"]["sha256"]

    def test_the_page_says_the_same(self, two: tuple[RunRecord, RunRecord]) -> None:
        differences = found(*two)
        page = diff_runs(*two)
        shown = {line.split()[0] for line in page.splitlines() if line.startswith("  ")}
        for part in ("parameters", "data", "series", "artifacts"):
            assert set(differences[part]) <= shown
        for text in (
            "+0.5 (+25 %)",
            "+0.15 (+150 %)",
            "type int → float",
            "20 of 600 differ, most 4 at [0, 7]",
            "shape [3] → [4]",
            "1 of 10 differ, most 0.125 @4",
            "10 → 11 values",
            "other content",
            "only in the first",
            "only in the second",
        ):
            assert text in page, text
        for same in ("SAME", "same.txt", "same_array"):
            assert same not in page.replace("SAME: int = 1", "").partition("\ncode\n")[0]
        assert page.splitlines()[-1] == "no difference in inputs, environment"

    def test_the_other_way_round(self, two: tuple[RunRecord, RunRecord]) -> None:
        forth, back = found(*two), found(two[1], two[0])
        assert names(forth) == names(back)
        turned = {"added": "removed", "removed": "added"}
        for part in ("parameters", "data", "series", "artifacts"):
            for name, change in forth[part].items():
                assert back[part][name]["kind"] == turned.get(change["kind"], change["kind"])
                assert back[part][name].get("second") == change.get("first")

    def test_values_of_json_are_exact(self, tmp_path: Path) -> None:
        first = made(tmp_path / "1", lambda e: e.__setitem__("x", (1, 10**30)))
        second = made(tmp_path / "2", lambda e: e.__setitem__("x", float("inf")))
        change = found(first, second)["data"]["x"]
        assert (decode(change["first"]), decode(change["second"])) == ((1, 10**30), float("inf"))


class TestCode:
    def test_a_unified_diff(self, two: tuple[RunRecord, RunRecord]) -> None:
        lines = found(*two)["code"]["exp_a.py"]["diff"]
        assert lines[:2] == ["--- first/exp_a.py", "+++ second/exp_a.py"]
        assert "-LR: float = 0.1" in lines
        assert "+LR: float = 0.25" in lines
        assert " SAME: int = 1" in lines

    def test_helpers_that_come_and_go(self, lab: Lab) -> None:
        lab.file("one.py", "A = 1\n")
        lab.file("shared.py", "S = 1\n")
        lab.experiment("import one, shared\n@experiment\ndef exp_a(e): e['x'] = 1\n")
        lab.run().exits(0)
        lab.file("two.py", "B = 2")
        # Of another length: within a second, Python takes the compiled file of one as long for it
        lab.experiment("import shared, two as t\n@experiment\ndef exp_a(e): e['x'] = 1\n")
        lab.run().exits(0)
        code = found(*lab.records())["code"]
        assert {name: change["kind"] for name, change in code.items()} == {
            "exp_a.py": "changed",
            "one.py": "removed",
            "two.py": "added",
        }
        assert code["one.py"]["diff"] == ["--- first/one.py", "+++ /dev/null", "@@ -1 +0,0 @@", "-A = 1"]
        assert code["two.py"]["diff"][-2:] == ["+B = 2", "\\ No newline at end of file"]

    def test_many_lines_are_left_out_and_counted(self, lab: Lab) -> None:
        for number in (1, 2):
            lines = "\n".join(f"X_{number}_{i} = {i}" for i in range(300))
            lab.experiment(f"{lines}\n@experiment\ndef exp_a(e): pass\n")
            lab.run().exits(0)
        first, second = lab.records()
        every = found(first, second)["code"]["exp_a.py"]["diff"]
        page = diff_runs(first, second).splitlines()
        start = page.index("code")
        shown = page[start + 1 : page.index("", start)]
        assert len(shown) == 201
        assert shown[-1].strip() == f"… {len(every) - 200} more lines: they are in --archive-format json"

    def test_a_missing_copy_is_said(self, two: tuple[RunRecord, RunRecord]) -> None:
        for copy in ("exp_a.py", "experiment_code.py"):
            (two[1].sweep_path / "source" / copy).unlink()
        (change,) = found(*two)["code"].values()
        assert change["kind"] == "unread"
        assert "no copy" in change["diff"][0]

    def test_a_manifest_cannot_name_files_elsewhere(self, two: tuple[RunRecord, RunRecord], lab: Lab) -> None:
        lab.file("secret.txt", "top secret")
        file = two[1].sweep_path / "sweep.json"
        manifest = json.loads(file.read_bytes())
        for name in ("../../../../secret.txt", str(lab.path / "secret.txt")):
            manifest["provenance"]["sources"][name] = "0" * 64
        file.write_text(json.dumps(manifest))
        (two[1].sweep_path / "source" / "link.py").symlink_to(lab.path / "secret.txt")
        manifest["provenance"]["sources"]["link.py"] = "0" * 64
        file.write_text(json.dumps(manifest))
        for format in ("table", "json"):
            text = diff_runs(*two, format=format)
            assert "top secret" not in text
            assert "outside of the sweep folder" in text

    def test_long_files_are_not_compared_line_by_line(
        self, two: tuple[RunRecord, RunRecord], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(code_differences, "_MAX_BYTES", 100)
        (change,) = found(*two)["code"].values()
        assert "too long" in change["diff"][0]

    def test_git(self, two: tuple[RunRecord, RunRecord]) -> None:
        for record, commit, patch in ((two[0], "a" * 40, "-x\n"), (two[1], "b" * 40, "-y\n")):
            file = record.sweep_path / "sweep.json"
            manifest = json.loads(file.read_bytes())
            manifest["provenance"]["git"] = {"commit": commit, "dirty": True, "diff": "source/git.diff"}
            file.write_text(json.dumps(manifest))
            (record.sweep_path / "source" / "git.diff").write_text(patch)
        differences = found(*two)
        assert set(differences["environment"]) == {"git commit"}
        assert differences["code"]["git.diff"]["diff"][-2:] == ["--x", "+-y"]


class TestEnvironment:
    def test_all_and_only_what_differs(self, two: tuple[RunRecord, RunRecord]) -> None:
        file = two[1].sweep_path / "sweep.json"
        manifest = json.loads(file.read_bytes())
        provenance = manifest["provenance"]
        provenance["distributions"] = [
            {**about, "version": "0.0.1"} if about["name"] == "numpy" else about
            for about in provenance["distributions"]
            if about["name"] != "pluggy"
        ] + [{"name": "My_Package", "version": "3", "origin": {"url": "https://x", "commit": "abc"}}]
        provenance["environment"]["NEW_VARIABLE"] = "1"
        provenance["python"]["executable"] = "/elsewhere/python"
        provenance["argv"].append("--more")
        file.write_text(json.dumps(manifest))
        meta_file = two[1].path / "experiment_meta.json"
        meta = json.loads(meta_file.read_bytes())
        meta["process"] |= {"host": "another", "pid": 1, "worker": "gw5", "boot_id": "x"}
        meta["versions"]["python"] = "9.9.9"
        meta_file.write_text(json.dumps(meta))
        differences = found(two[0], RunRecord(two[1].path))["environment"]
        assert set(differences) == {
            "host",
            "python",
            "python executable",
            "package numpy",
            "package pluggy",
            "package my-package",
            "variable NEW_VARIABLE",
            "command",
        }
        assert differences["package pluggy"]["kind"] == "removed"
        assert differences["package my-package"] == {"kind": "added", "second": "3 from https://x abc"}

    def test_a_run_without_its_sweep(self, two: tuple[RunRecord, RunRecord], lab: Lab) -> None:
        (two[1].sweep_path / "sweep.json").unlink()
        page = diff_runs(*two)
        assert "without its sweep.json" in page


class TestRuns:
    def test_a_run_with_itself(self, two: tuple[RunRecord, RunRecord], lab: Lab) -> None:
        place = str(two[0].path)
        out = lab.pytest("--archive-diff", place, place).exits(0).out
        assert out.splitlines()[-1] == "no difference: both are the same run"
        content = json.loads(lab.pytest("--archive-diff", place, place, "--archive-format=json").exits(0).out)
        assert content["differ"] == []

    def test_replicates(self, lab: Lab) -> None:
        lab.experiment("@experiment.replicate(2)\ndef exp_a(e): e['x'] = 1")
        lab.run().exits(0)
        assert names(found(*lab.records())) == {"run": {"replicate", "seed"}}

    def test_the_same_run_again(self, lab: Lab) -> None:
        lab.experiment("@experiment\ndef exp_a(e): e['x'] = e.rng.random(); e.track('y', 1)")
        lab.run().exits(0)
        lab.run().exits(0)
        assert found(*lab.records()) == {}

    def test_across_experiments(self, lab: Lab) -> None:
        lab.experiment("@experiment\ndef exp_a(e, x: int = 1): e['v'] = x", "exp_a.py")
        lab.experiment("@experiment\ndef exp_b(e, x: int = 1): e['v'] = x", "exp_b.py")
        lab.run().exits(0)
        out = lab.pytest("--archive-diff", "exp_a", "exp_b", "--archive-format", "markdown").exits(0).out
        assert out.startswith("# exp\\_a\\[exp\\_a\\] and exp\\_b\\[exp\\_b\\]\n")
        assert "```diff\n--- first/exp_a.py\n+++ second/exp_b.py\n" in out
        assert "no difference in parameters, derived parameters, data, " in out

    def test_runs_that_are_not_there(self, lab: Lab) -> None:
        lab.experiment("@experiment.parametrize('x', [1, 2])\ndef exp_a(e, x: int): pass")
        lab.run().exits(0)
        lab.pytest("--archive-diff", "x=1", "x=3").exits(4).says("no run 'x=3'", "did you mean")
        lab.pytest("--archive-diff", "x=1", "x=2", "--archive-format", "csv").exits(4).says("markdown")

    @pytest.mark.parametrize("width", [80, 160])
    def test_it_fits(self, two: tuple[RunRecord, RunRecord], width: int) -> None:
        page = diff_runs(*two, width=width)
        assert max(map(text_width, page.splitlines())) <= width
        assert "20 of 600 differ, most 4 at [0, 7]" in page

    def test_in_a_zip(self, two: tuple[RunRecord, RunRecord], lab: Lab) -> None:
        zipped = shutil.make_archive(str(lab.path / "results"), "zip", lab.path / "results")
        first, second = Archive(zipped).runs()
        in_zip, in_folders = found(first, second), found(*two)
        for side in (in_zip, in_folders):
            for change in side["artifacts"].values():
                for entry in change.keys() & {"first", "second"}:
                    assert Path(change[entry].pop("path")).name in side["artifacts"]
        assert in_zip == in_folders


def made(path: Path, record: Callable[[Run], object]) -> RunRecord:
    with Run.detached(path) as run:
        record(run)
    return RunRecord(path)


class TestDamage:
    """What cannot be read is no difference, and no equality either."""

    @staticmethod
    def both(tmp_path: Path, *records: Callable[[Run], object]) -> tuple[RunRecord, RunRecord]:
        first, second = (made(tmp_path / str(number), record) for number, record in enumerate(records))
        return first, second

    def test_a_damaged_array(self, tmp_path: Path) -> None:
        store = lambda e: e.__setitem__("x", np.arange(1000))  # noqa: E731
        first, second = self.both(tmp_path, store, store)
        assert found(first, second) == {}
        (second.path / "data" / "x.npy").write_bytes(b"broken")
        # The checksum in the data file still tells that the same had been stored.
        assert found(first, second) == {}
        first, second = self.both(tmp_path / "more", store, lambda e: e.__setitem__("x", np.ones(1000)))
        (second.path / "data" / "x.npy").unlink()
        assert found(first, second)["data"]["x"]["text"] == "their checksums differ"

    def test_large_arrays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(comparison, "_MAX_BYTES", 1000)
        first, second = self.both(
            tmp_path,
            lambda e: e.__setitem__("x", np.zeros(1000)),
            lambda e: e.__setitem__("x", np.ones(1000)),
        )
        change = found(first, second)["data"]["x"]
        assert (change["kind"], change["text"]) == ("value", "their checksums differ")
        assert found(first, first) == {}

    def test_a_damaged_series(self, tmp_path: Path) -> None:
        track = lambda e: e.track("field", np.arange(500))  # noqa: E731
        first, second = self.both(tmp_path, track, track)
        assert found(first, second) == {}
        (second.path / "data" / "series.bin").write_bytes(b"")
        assert found(first, second)["series"]["field"]["kind"] == "unread"

    def test_missing_artifacts(self, tmp_path: Path) -> None:
        commit = lambda e: e.commit("a.txt", "text")  # noqa: E731
        first, second = self.both(tmp_path, commit, commit)
        (second.path / "a.txt").unlink()
        assert found(first, second)["artifacts"]["a.txt"]["text"] == "second: the file is missing"

    def test_pictures(self, tmp_path: Path) -> None:
        image = pytest.importorskip("PIL.Image")

        def track(colour: str) -> Callable[[Run], object]:
            return lambda e: [e.track("view", image.new("RGB", (4, 4), c)) for c in ("red", colour)]

        first, second = self.both(tmp_path, track("red"), track("blue"))
        assert found(first, first) == {}
        assert found(first, second)["series"]["view"]["text"] == "1 of 2 differ"

    def test_steps(self, tmp_path: Path) -> None:
        def track(*steps: int) -> Callable[[Run], object]:
            return lambda e: [e.track("x", float(step), step=step) for step in steps]

        first, second = self.both(tmp_path, track(0, 1, 2), track(1, 2, 3))
        assert found(first, second)["series"]["x"]["text"] == "other steps"
        first, second = self.both(tmp_path / "more", track(0, 1), track(5, 6))
        assert found(first, second)["series"]["x"]["text"] == "other steps, no step in common"

    def test_mixed_kinds(self, tmp_path: Path) -> None:
        first, second = self.both(tmp_path, lambda e: e.track("x", 1.0), lambda e: e.track("x", np.zeros(3)))
        assert "x" in found(first, second)["series"]
        first, second = self.both(
            tmp_path / "more",
            lambda e: (e.track("x", 1), e.track("x", 2.0)),
            lambda e: (e.track("x", 1), e.track("x", 2)),
        )
        assert "type" in found(first, second)["series"]["x"]["text"]

    @pytest.mark.parametrize("format", ["csv", "latex", "yaml"])
    def test_other_formats_are_refused(self, tmp_path: Path, format: str) -> None:
        run = made(tmp_path / "run", lambda e: None)
        with pytest.raises(ExperimentError, match="markdown"):
            diff_runs(run, run, format=format)

    def test_nothing_raw_reaches_the_terminal(self, tmp_path: Path) -> None:
        first, second = self.both(
            tmp_path,
            lambda e: (e.__setitem__("a\u202eb", "\x1b[2J"), e.note("\x9b31m"), e.commit("c\u202ed", "1")),
            lambda e: (e.__setitem__("a\u202eb", "\x1b[3J"), e.note("\x07")),
        )
        for format in ("table", "json", "markdown"):
            text = diff_runs(first, second, format=format)
            assert all(c == "\n" or c.isprintable() for c in text)

    def test_long_texts_are_shown_where_they_differ(self, tmp_path: Path) -> None:
        first, second = self.both(
            tmp_path,
            lambda e: e.__setitem__("x", "word " * 40 + "end one"),
            lambda e: e.__setitem__("x", "word " * 40 + "end two"),
        )
        page = diff_runs(first, second, width=80)
        assert "end one" in page
        assert "end two" in page

    def test_what_is_cut_is_the_common_beginning(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment.parametrize("alpha", [0.25, 1.5])
            def exp_a(e, alpha): ...
            """
        )
        lab.run("--where", "alpha < 1").exits(0)
        lab.run("--resume").exits(0)
        first, second = lab.records()
        lines = diff_runs(first, second, width=80).splitlines()
        (command,) = (line for line in lines if line.startswith("  command"))
        assert "--where alpha < 1" in command
        assert "--resume" in command
        assert len(command) <= 80
        (whole,) = (line for line in diff_runs(first, second).splitlines() if line.startswith("  command"))
        assert whole.count("--experiments") == 2
