"""``--archive-show``: one run whole, whatever state it is in."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition import Archive, Run, RunRecord
from expedition.errors import DamagedError, ExperimentError
from expedition.recording.journal import seal
from expedition.reporting.comparison import diff_runs
from expedition.reporting.fitting import text_width
from expedition.reporting.run_page import show_run
from expedition.values import decode

from .conftest import Lab

EVERYTHING = '''
import datetime
import numpy as np
import pandas as pd
from expedition import Secret

SIZE: int = 3            # how many
TOKEN: Secret[str] = "sk-hidden"
LONG: str = "word " * 100
KERNEL: np.ndarray = np.arange(4.0)

@experiment(tags=["paper"])
@experiment.parametrize("alpha", [0.1, 1.0, 10.0])
def exp_a(e, alpha: float = 1.0, kind: str = "a"):
    """Records everything."""
    e.log("first line")
    e["scores/mean"] = alpha / 3
    e["scores/all"] = [alpha, None, "x"]
    e["evil"] = "\\x1b[2Jclear\\nnext \\u202eturned"
    e["nan"] = float("nan")
    e["big"] = 10**400
    e["field"] = np.arange(600.0).reshape(20, 30)
    e["flags"] = np.array([True, False, True])
    e["masked"] = np.ma.masked_greater(np.arange(5), 3)
    e["frame"] = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    e["when"] = datetime.date(2020, 1, 1)
    e["größe/שלום"] = 5
    for i in range(40):
        e.track("fold/rmse", [4.0, 1.0, 2.0, 8.0][i % 4] if i else 3.0, step=10 * i)
    for i in range(4):
        e.track("field", np.full(200, float(i)))
        e.track("flag", i % 2 == 0)
        e.track("complex", 1j * i)
    e.commit("notes/a.txt", "text")
    e.annotate("scores/mean", "the mean", unit="mm")
    e.annotate("alpha", "step size", unit="1/s")
    e.derived("double", 2 * alpha)
    e.note("a note")
    for i in range(30):
        print(f"\\x1b[31mline {i}\\x1b[0m")
    if alpha == 10.0:
        __import__("pytest").xfail("known")
    assert alpha != 1.0, "too bad"
'''


@pytest.fixture
def everything(lab: Lab) -> Lab:
    lab.experiment(EVERYTHING)
    lab.run("--tag", "cli").exits(1)
    return lab


def section(page: str, title: str) -> list[str]:
    """The lines below a title of a page."""
    lines = page.splitlines()
    start = lines.index(title) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [line.strip() for line in lines[start:end]]


def cells(page: str, title: str) -> dict[str, list[str]]:
    """The rows of a table of a page by their first cells, blanks between cells not counted."""
    return {line.split()[0]: line.split()[1:] for line in section(page, title)}


class TestPage:
    def test_everything_is_there(self, everything: Lab) -> None:
        record = everything.record(id="alpha=1.0")
        page = everything.pytest("--archive-show", "alpha=1.0").exits(0).out
        lines = page.splitlines()
        assert lines[0] == "exp_a[alpha=1.0]  failed"
        state = dict(line.strip().split(None, 1) for line in lines[1 : lines.index("")])
        assert state["about"] == "Records everything."
        assert state["status"] == "failed: AssertionError: too bad"
        assert state["run"] == f"exp_a/{record.sweep}/0001-alpha=1.0"
        assert state["key"] == record.key
        assert state["tags"] == "paper cli"
        assert state["note"] == "a note"
        assert cells(page, "parameters")["SIZE"] == ["3", "int", "default", "how", "many"]
        assert cells(page, "parameters")["alpha"] == ["1.0", "float", "sweep", "1/s", "step", "size"]
        assert cells(page, "parameters")["TOKEN"] == ["***", "Secret[str]", "default"]
        assert cells(page, "derived parameters")["double"] == ["2.0"]
        data = cells(page, "data")
        assert data["scores/mean"] == ["0.333333", "mm", "the", "mean"]
        assert data["scores/all"] == ["[1,", "None,", "'x']"]
        assert " ".join(data["field"]) == "float64[20×30], min 0, mean 299.5, max 599"
        assert " ".join(data["flags"]) == "bool[3], 2 true"
        assert " ".join(data["masked"]) == "masked int64[5], 1 masked, min 0, mean 1.5, max 3"
        assert " ".join(data["frame"]) == "DataFrame[2×2] with a, b"
        assert data["größe/שלום"] == ["5"]
        series = cells(page, "series")
        assert series["fold/rmse"][0] == "40"
        assert len(series["fold/rmse"][1]) == 20
        assert series["fold/rmse"][2:] == ["3", "@0", "1", "@10", "8", "@30", "8", "@390"]
        assert series["field"] == ["4", "float64[200],", "steps", "0", "to", "3"]
        assert series["flag"] == ["4", "█▁█▁", "True", "@0", "False", "@1", "True", "@0", "False", "@3"]
        assert series["complex"] == ["4", "complex128", "0j", "@0", "3j", "@3"]
        assert cells(page, "artifacts")["notes/a.txt"] == ["4", "B", "raw"]
        provenance = cells(page, "provenance")
        assert provenance["seed"] == [str(record.seed)]
        assert f"{record.meta['process']['pid']}," in provenance["process"]
        assert "--experiments" in provenance["command"]
        assert section(page, "error: AssertionError")[0] == "Traceback (most recent call last):"
        log = section(page, "log, last lines")
        assert log[0] == "11 lines before these are in experiment_out.log"
        assert log[1:] == [f"line {i}" for i in range(10, 30)]
        assert "sk-hidden" not in page

    @pytest.mark.parametrize("width", [80, 160])
    def test_it_fits(self, everything: Lab, width: int) -> None:
        for record in everything.records():
            page = show_run(record, width=width)
            paths = ("  folder ", "  run ", "  in ")  # which stay whole, so that they can be copied
            lines = [line for line in page.splitlines() if not line.startswith(paths)]
            assert max(map(text_width, lines)) <= width
            (long,) = (line for line in section(page, "parameters") if line.startswith("LONG"))
            assert "…" in long
            assert "word " * 90 not in page
            bars = cells(page, "series")["fold/rmse"][1]
            assert len(bars) == (20 if width == 160 else 10)

    def test_nothing_is_cut_without_a_terminal(self, everything: Lab) -> None:
        assert "word " * 99 in everything.pytest("--archive-show", "alpha=0.1").out

    def test_nothing_raw_reaches_the_terminal(self, everything: Lab) -> None:
        for arguments in ([], ["--archive-format=json"], ["--archive-format=markdown"]):
            out = everything.pytest("--archive-show", "alpha=0.1", *arguments).exits(0).out
            assert all(c == "\n" or c.isprintable() for c in out)
        page = show_run(everything.record(id="alpha=0.1"))
        assert r"\x1b[2Jclear\nnext \u202eturned" in page

    def test_statuses_in_words(self, everything: Lab) -> None:
        page = show_run(everything.record(id="alpha=10.0"))
        assert "done, with the failure that was expected: known" in page

    def test_what_is_empty_is_left_out(self, lab: Lab) -> None:
        lab.experiment("@experiment\ndef exp_a(e): pass")
        lab.run().exits(0)
        page = lab.pytest("--archive-show", "exp_a").exits(0).out
        assert [line for line in page.splitlines() if not line.startswith(" ")] == [
            "exp_a[exp_a]  done",
            "",
            "provenance",
        ]


class TestFormats:
    def test_json_is_exact(self, everything: Lab) -> None:
        record = everything.record(id="alpha=1.0")
        out = everything.pytest("--archive-show", "alpha=1.0", "--archive-format=json").exits(0).out
        content = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert content["status"] == "failed"
        assert content["parameters"] == record.meta["parameters"]
        assert content["data"] == record.tagged_data
        assert content["annotations"]["alpha"] == {"comment": "step size", "unit": "1/s"}
        for name, values in record.series.items():
            series = content["series"][name]
            assert series["n"] == len(values.step)
            assert series["step"] == values.step.tolist()
            assert series["time"] == values.time.astype(np.int64).tolist()
        assert content["series"]["fold/rmse"]["value"] == record.series["fold/rmse"].value.tolist()
        assert decode(content["series"]["complex"]["value"][3]) == 3j
        assert content["artifacts"] == [
            {**record.artifact_list[0], "path": str(record.artifacts["notes/a.txt"])}
        ]
        assert content["error"] == record.error._asdict()  # type: ignore[union-attr]
        assert content["provenance"]["argv"]
        assert content["log"]["left_out"] == 11
        assert content["unreadable"] == []

    def test_markdown(self, everything: Lab) -> None:
        out = everything.pytest("--archive-show", "alpha=1.0", "--archive-format=markdown").exits(0).out
        assert out.startswith("# exp\\_a\\[alpha=1.0\\]  failed\n")
        assert "| SIZE | 3 | int | default |  | how many |" in out
        assert "## series\n\n| name | n |  | first | min | max | last |\n| --- | --: | --- |" in out
        assert "```pytb\nTraceback" in out

    @pytest.mark.parametrize("format", ["csv", "latex", "xml"])
    def test_other_formats_are_refused(self, tmp_path: Path, format: str) -> None:
        with Run.detached(tmp_path / "run"):
            pass
        with pytest.raises(ExperimentError, match="markdown"):
            show_run(RunRecord(tmp_path / "run"), format=format)


class TestOddRuns:
    """What is damaged or missing is said; the rest is shown."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "run"
        with Run.detached(path, alpha=1.5) as e:
            e["x"] = 1
            e["array"] = np.arange(1000.0)
            e["later"] = 7
            for i in range(3):
                e.track("loss", 1.0 / (i + 1))
                e.track("field", np.full(500, i))
            e.commit("a.txt", "content")
            e.tag("t")
        return path

    @staticmethod
    def edit(file: Path, **changes: Any) -> None:
        content = json.loads(file.read_bytes())
        content.update(changes)
        file.write_text(json.dumps(content), encoding="utf-8")

    def test_without_an_end_record(self, path: Path) -> None:
        meta = json.loads((path / "experiment_meta.json").read_bytes())
        for name in ("series", "artifacts"):
            del meta[name]
        process = {**meta["process"], "boot_id": "another"}
        meta |= {"status": "running", "stop": None, "duration": None, "process": process, "tags": []}
        (path / "experiment_meta.json").write_text(json.dumps(meta), encoding="utf-8")
        (path / "experiment_data.json").unlink()
        page = show_run(RunRecord(path))
        assert page.splitlines()[0] == "detached[detached]  crashed"
        assert "the process died without an end record" in page
        assert cells(page, "data")["later"] == ["7"]
        assert cells(page, "series")["loss"][0] == "3"
        assert cells(page, "artifacts")["a.txt"] == ["7", "B", "raw"]
        assert "tags     t" in page

    @pytest.mark.parametrize("damage", ["{broken", "[]", None])
    def test_a_damaged_or_missing_data_file(self, path: Path, damage: str | None) -> None:
        file = path / "experiment_data.json"
        file.unlink()
        if damage is not None:
            file.write_text(damage, encoding="utf-8")
        page = show_run(RunRecord(path))
        assert "stored values are those of the journal" in section(page, "could not be read")[0]
        assert cells(page, "data")["x"] == ["1"]
        assert cells(page, "data")["later"] == ["7"]

    def test_a_damaged_array(self, path: Path) -> None:
        (path / "data" / "array.npy").write_bytes(b"nothing")
        page = show_run(RunRecord(path), width=160)
        assert " ".join(cells(page, "data")["array"]).startswith("cannot be read: ")
        assert cells(page, "data")["later"] == ["7"]

    def test_a_missing_journal(self, path: Path) -> None:
        (path / "experiment_journal.jsonl").unlink()
        series = cells(show_run(RunRecord(path)), "series")
        assert " ".join(series["loss"]) == "3 missing from experiment_journal.jsonl"
        assert json.loads(show_run(RunRecord(path), format="json"))["series"]["loss"]["n"] == 0

    def test_lost_lines_of_a_series(self, path: Path) -> None:
        journal = path / "experiment_journal.jsonl"
        lines = [line for line in journal.read_text().splitlines() if '"n":"loss","s":1' not in line]
        journal.write_text("\n".join(lines) + "\n")
        assert " ".join(cells(show_run(RunRecord(path)), "series")["loss"]).startswith("2 of 3 ")

    def test_lines_with_members_of_other_types_are_passed_over(self, path: Path) -> None:
        odd: list[dict[str, Any]] = [
            {"e": "track", "n": 5, "s": 0, "t": 0, "v": 1},
            {"e": "track", "n": "loss", "s": "x", "t": 0, "v": 1},
            {"e": "store", "k": {}, "v": 1},
            {"e": "annotate", "k": "x", "v": 5},
            {"e": "note", "v": []},
        ]
        with open(path / "experiment_journal.jsonl", "a", encoding="utf-8") as file:
            for event in odd:
                text = json.dumps(event)[:-1]
                file.write(f'{text},"crc":"{zlib.crc32(text.encode()):08x}"}}\n')
        (path / "experiment_data.json").unlink()
        page = show_run(RunRecord(path))
        assert cells(page, "data")["later"] == ["7"]
        assert cells(page, "series")["loss"][0] == "3"

    def test_missing_arrays_of_a_series_are_not_asked_for(self, path: Path) -> None:
        (path / "data" / "series.bin").unlink()
        assert cells(show_run(RunRecord(path)), "series")["field"] == [
            "3",
            "int64[500],",
            "steps",
            "0",
            "to",
            "2",
        ]

    def test_missing_and_changed_artifacts(self, path: Path) -> None:
        (path / "a.txt").write_text("longer content")
        assert "the file has 14 bytes now" in " ".join(cells(show_run(RunRecord(path)), "artifacts")["a.txt"])
        (path / "a.txt").unlink()
        assert "the file is missing" in " ".join(cells(show_run(RunRecord(path)), "artifacts")["a.txt"])

    def test_artifacts_elsewhere(self, path: Path) -> None:
        entry = {"name": "../../secret", "size": 1, "sha256": "0" * 64, "kind": "raw"}
        self.edit(path / "experiment_meta.json", artifacts=[entry])
        assert "escapes" in show_run(RunRecord(path)) or "leave" in show_run(RunRecord(path))

    def test_members_of_the_wrong_type(self, path: Path) -> None:
        """Those that readers rely on make the run a damaged one, and are named; the others leave it as it is."""
        refused: dict[str, Any] = {
            "series": {"loss": 3, "x": None},
            "artifacts": 5,
            "annotations": {"x": "m"},
        }
        before = (path / "experiment_meta.json").read_bytes()
        for name, value in refused.items():
            self.edit(path / "experiment_meta.json", **{name: value})
            with pytest.raises(DamagedError, match=f"experiment_meta.json is damaged: its member '{name}'"):
                RunRecord(path)
            (path / "experiment_meta.json").write_bytes(before)
        for name, value in {"versions": [], "derived": {"d": {"$": "nonsense"}}}.items():
            self.edit(path / "experiment_meta.json", **{name: value})
            for format in ("table", "json", "markdown"):
                assert "later" in show_run(RunRecord(path), format=format)
            (path / "experiment_meta.json").write_bytes(before)

    def test_huge_values_and_many_series(self, tmp_path: Path) -> None:
        path = tmp_path / "many"
        with Run.detached(path) as e:
            for i in range(300):
                e.track(f"s/{i}", float(i))
            e["text"] = "x" * 100_000
            e["list"] = list(range(5_000))
            e["array"] = np.zeros((1500, 1500))  # 18 MB: not read for a page
        page = show_run(RunRecord(path), width=80)
        assert len(page) < 10_000
        assert "… 240 more: see --archive-format json, or a pipe" in page
        assert cells(page, "data")["array"] == ["float64[1500×1500]"]
        assert len(section(show_run(RunRecord(path)), "series")) == 301

    def test_a_copy_without_its_sweep(self, everything: Lab) -> None:
        path = everything.path / "copy"
        shutil.copytree(everything.record(id="alpha=0.1").path, path)
        page = everything.pytest("--archive-show", path).exits(0).out
        assert "command" not in page
        assert cells(page, "data")["scores/mean"][0] == "0.0333333"

    def test_a_damaged_manifest(self, everything: Lab) -> None:
        record = everything.record(id="alpha=0.1")
        (record.sweep_path / "sweep.json").write_text("{broken")
        page = show_run(RunRecord(record.path))
        assert "sweep.json" in section(page, "could not be read")[0]

    def test_edits_are_shown(self, path: Path) -> None:
        edit = {
            "time": "2026-11-23T10:00:00Z",
            "operation": "set data.x=2",
            "before": {"data/x": 1},
            "after": {"data/x": 2, "data/y": "\x1b[2J"},
        }
        self.edit(path / "experiment_meta.json", edits=[edit])
        (line,) = [line for line in section(show_run(RunRecord(path)), "edits") if "set" in line]
        assert line.startswith("2026-11-23T10:00:00Z  set data.x=2  data/x: 1 → 2; data/y: nothing → ")
        assert line.isprintable()


def test_children_and_summaries(lab: Lab) -> None:
    lab.experiment("@experiment\ndef exp_b(e, y: int = 1): e['y'] = y", "exp_b.py")
    lab.experiment(
        """
        @experiment
        def exp_m(e):
            e.run_child("exp_b.py", y=4)

        @experiment.after_sweep
        def summarize(e, traj):
            e["sum"] = len(traj)
        """,
        "exp_m.py",
    )
    lab.run(path="exp_m.py").exits(0)
    parent = lab.record(experiment="exp_m")
    page = show_run(parent)
    assert cells(page, "children")["exp_b[y=4]"][-1] == "children/0000-exp_b"
    child = show_run(parent.children[0])
    assert child.startswith("exp_b[y=4]  done")
    assert cells(child, "parameters")["y"] == ["4", "int", "run_child"]
    assert "exp_m.py" in " ".join(cells(child, "provenance")["command"])
    summary = lab.pytest("--archive-show", f"{parent.sweep}/summary").exits(0).out
    assert summary.startswith("exp_m[summary]  done")
    assert cells(summary, "data")["sum"] == ["1"]


def test_a_run_in_a_zip(everything: Lab) -> None:
    """It says the same as in its folder, and no artifact is unpacked."""
    zipped = shutil.make_archive(str(everything.path / "results"), "zip", everything.path / "results")
    record = Archive(zipped).run("alpha=0.1")
    page, same = show_run(record), show_run(everything.record(id="alpha=0.1"))
    assert [line for line in page.splitlines() if "folder" not in line] == [
        line for line in same.splitlines() if "folder" not in line
    ]


def test_reading_changes_nothing(everything: Lab) -> None:
    before = everything.files()
    for format in ("table", "json", "markdown"):
        everything.pytest("--archive-show", "alpha=0.1", f"--archive-format={format}").exits(0)
    assert everything.files() == before


def test_provenance_is_that_of_the_invocation_that_made_the_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.experiment(
        """
        @experiment.parametrize("a", [1, 2])
        def exp_a(e, a): ...
        """
    )
    monkeypatch.setenv("TZ", "Europe/Berlin")
    lab.run("--where", "a == 1").exits(0)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    lab.run("--resume").exits(0)
    first, second = lab.records()
    documents = [json.loads(show_run(record, format="json")) for record in (first, second)]
    assert "--where" in documents[0]["provenance"]["argv"]
    assert "--resume" in documents[1]["provenance"]["argv"]
    zones = [document["provenance"]["environment"]["TZ"] for document in documents]
    assert zones == ["Europe/Berlin", "Asia/Tokyo"]
    assert documents[1]["provenance"]["sources"] == documents[0]["provenance"]["sources"]
    assert "--resume" in "".join(section(show_run(second), "provenance"))
    differences = json.loads(diff_runs(first, second, format="json"))["differences"]["environment"]
    assert {"command", "variable TZ", "option where"} <= differences.keys()

    # Where an earlier version wrote the line, nothing is said that is known of the first invocation only.
    file = first.sweep_path / "invocations.jsonl"
    begin, later = file.read_bytes().splitlines(keepends=True)
    content = json.loads(later)
    del content["provenance"], content["crc"]
    file.write_bytes(begin + seal(json.dumps(content, separators=(",", ":"))))
    provenance = json.loads(show_run(second, format="json"))["provenance"]
    assert sorted(provenance) == ["argv", "hostname", "import_paths", "sources"]
    assert "--resume" in provenance["argv"]


def test_a_path_stands_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / ("a long name " * 4 + "with blanks") / "run"
    path.parent.mkdir()
    with Run.detached(path) as e:
        e.note("word " * 40)
    page = show_run(RunRecord(path), width=60)
    assert any(line.endswith(f" {path}") for line in page.splitlines())
    assert "word " * 30 not in page
