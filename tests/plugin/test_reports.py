"""``--archive-list`` and ``--archive-show``: answered at once, whatever the experiment files are like."""

from __future__ import annotations

import json
import shutil
from datetime import datetime

SWEEP = """
import numpy as np

@experiment.parametrize("a", [1, 2])
def exp_a(e, a: int, b: str = "ü"):
    \"\"\"About it.\"\"\"
    e["score/mean"] = 1.5 * a
    e["nan"] = float("nan")
    e["array"] = np.zeros(3)
    e["odd"] = (1, b"x")
    e.track("loss", 0.25)
    e.commit_raw("notes.txt", "text")
    e.annotate("score/mean", "the mean", unit="mm")
    e.note("a note")
    print("last words")
    if a == 2:
        raise ValueError("bad a")
"""


def test_missing_and_empty_archives(lab):
    lab.pytest("--archive-list").exits(0).says("no archive at")
    assert json.loads(lab.pytest("--archive-list", "--archive-format", "json").exits(0).out) == []
    lab.pytest("--archive-show", "x").exits(4).says("no archive at")
    (lab.path / "results").mkdir()
    lab.pytest("--archive-list").exits(0).says("no runs")
    assert json.loads(lab.pytest("--archive-list", "--archive-format=json").exits(0).out) == []
    lab.pytest("--archive-list", "--archive-format=xml").exits(4)


def test_a_populated_archive(lab):
    lab.experiment(SWEEP)
    lab.run("--tag", "paper").exits(1)
    lab.experiment("raise RuntimeError('broken file')", "exp_a.py")
    lab.file("test_broken.py", "raise RuntimeError('broken test')")
    before = lab.files()
    shown = lab.pytest("--archive-list").exits(0).omits("broken", "test session starts")
    shown.says("score.mean", "done", "failed: ValueError", "constant: b=ü", "2 runs in", "1 done, 1 failed")
    first, second = json.loads(lab.pytest("--archive-list", "--archive-format", "json").exits(0).out)
    records = lab.records()
    for row, record in zip((first, second), records, strict=True):
        assert row["experiment"] == "exp_a"
        assert (row["id"], row["key"], row["status"]) == (record.id, record.key, record.status)
        assert (lab.path / "results" / row["folder"]).resolve() == record.path.resolve()
        assert datetime.fromisoformat(row["started"]) == record.started
        assert row["duration"] == record.duration

    # One run, by everything that names it.
    names = [
        second["key"],
        second["key"][:8],
        "exp_a[a=2]",
        "a=2",
        str(records[1].path),
        second["folder"],
        second["run"],
    ]
    texts = [lab.pytest("--archive-show", name).exits(0).out for name in names]
    assert len(set(texts)) == 1
    for part in (
        "exp_a[a=2]",
        "failed",
        second["key"],
        "score/mean",
        "mm    the mean",
        "0.25 @0",
        "notes.txt",
        "ValueError: bad a",
        "last words",
        "a note",
        "paper",
        "sweep",
        "default",
    ):
        assert part in texts[0], part
    document = json.loads(lab.pytest("--archive-show", "a=2", "--archive-format=json").exits(0).out)
    assert {name: about["value"] for name, about in document["parameters"].items()} == {"a": 2, "b": "ü"}
    assert document["data"]["score/mean"] == 3.0
    assert document["series"]["loss"]["value"] == [0.25]
    assert document["error"]["type"] == "ValueError"
    assert document["seed"] == records[1].seed
    assert document["tags"] == ["paper"]
    lab.pytest("--archive-show", "a=3").exits(4).says("a=3")
    lab.pytest("--archive-show", "").exits(4)
    assert lab.files() == before


def test_archives_elsewhere_and_moved(lab):
    lab.experiment(SWEEP)
    lab.run("--archive", "first").exits(1)
    shutil.move(lab.path / "first", lab.path / "second")
    lab.pytest("--archive-list", "--archive", "second").exits(0).says("2 runs in")
    lab.pytest("--archive-show", "a=1", "--archive", "second").exits(0).says("second")
    lab.file("pytest.ini", "[pytest]\nexperiment_archive = second\n")
    lab.pytest("--archive-list").exits(0).says("2 runs in")


def test_damaged_runs_are_reported_and_block_nothing(lab):
    lab.experiment(SWEEP)
    lab.run().exits(1)
    (lab.records()[0].path / "experiment_meta.json").write_text("{broken")
    lab.pytest("--archive-list").exits(0).says(
        "2 runs in", "1 failed, 1 damaged", "exp_a[a=1]: experiment_meta.json is damaged"
    )
    statuses = [
        row["status"]
        for row in json.loads(lab.pytest("--archive-list", "--archive-format=json").exits(0).out)
    ]
    assert statuses == ["damaged", "failed"]


def test_an_output_without_all_characters(lab):
    """With LC_ALL=C neither a run nor a report fails; the record has every character."""
    lab.experiment(
        "NAME: str = 'ü🎉'\n@experiment\ndef exp_a(e):\n    e.log('ä → 🎉')\n    print('ö')\n    e['ß'] = NAME\n"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    lab.spawn("--experiments", ".", "-v", "-s", **plain).exits(0)
    record = lab.record()
    assert record.data == {"ß": "ü🎉"}
    assert "ä → 🎉" in record.log
    assert "ö" in record.log
    lab.spawn("--archive-show", "exp_a", **plain).exits(0).says(r"\u00fc\ud83c\udf89")
    shown = json.loads(lab.spawn("--archive-show", "exp_a", "--archive-format=json", **plain).exits(0).out)
    assert "ü🎉" in str(shown)


def test_a_report_runs_no_code_of_the_project(lab):
    """Its conftest files may need what is not installed here; options of theirs may stand in addopts."""
    lab.experiment("""
        @experiment.parametrize("x", [1, 2])
        def exp_a(e, x: int):
            e["x"] = x
        """)
    lab.run().exits(0)
    lab.file("tests/conftest.py", "import nowhere_installed")
    lab.file("conftest.py", "def pytest_addoption(parser): parser.addoption('--mine', default='')")
    lab.file("pytest.ini", "[pytest]\ntestpaths = tests\naddopts = --mine=yes\n")
    lab.spawn("--archive-list").exits(0).says("2 runs in", "2 done").omits("nowhere_installed")
    lab.spawn("--archive-show", "x=1").exits(0).says("x=1")
    lab.spawn("--archive-list", "--archive-fromat", "json").exits(4).says("--archive-fromat")
