"""`Archive.runs`, `rows`, `table` and `to_pandas`: the select language on real records, and the tables of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition import Archive, RunRecord
from expedition.errors import ExperimentError, ExpressionError, RecordNotFoundError
from tests.archive.conftest import edit
from tests.durability.laboratory import Laboratory

STORING = """
import datetime, pathlib
import numpy as np
from expedition import experiment

RATE: float = 0.5
WORDS: list[str] = ["one", "two"]
TEXT: str = "x" * 3000
duration: int = 1

@experiment(tags=["paper", "2026-11-22"])
@experiment.parametrize("x", [0, 1, 2, 3])
@experiment.replicate(2)
def exp_a(e, x: int = 0, model: str = "ridge", status: str = "mine", size: float = 1.5):
    if x == 3:
        e.skip("not today")
    e["loss/mean"] = x / 2
    e["loss/all"] = [x, None, "last"]
    e["loss/best.step"] = x
    e["two words"] = x
    e["µ"] = x
    e["when"] = datetime.datetime(2026, 11, 20 + x, tzinfo=datetime.UTC)
    e["took"] = datetime.timedelta(hours=x)
    e["nan"] = float("nan")
    e["none"] = None
    e["numpy"] = np.float32(x)
    e["array"] = np.arange(400) + x
    e["long"] = "y" * 3000 + str(x)
    e["path"] = pathlib.PurePosixPath("/data/raw") / str(x)
    e["pair"] = (x, 1)
    e["flag"] = x > 1
    e["duration"] = "slow"
    if x == 2:
        e["rare"] = 1
    if x == 1 and e.replicate:
        e.fail("bad luck")
"""
OTHER = """
from expedition import experiment

@experiment
def exp_b(e, other: int = 7):
    e["loss/mean"] = "text"
"""


@pytest.fixture(scope="module")
def stored(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A sweep of eight runs, and another experiment; nobody may change it."""

    def make(path: Path) -> None:
        lab = Laboratory(path / "lab")
        lab.write("exp_a.py", STORING)
        lab.write("exp_b.py", OTHER)
        lab.run().exits(1)

    return made_once("stored", make) / "lab" / "results"


def ids(archive: Path, select: str) -> list[str]:
    """Short ids of the runs that match: x and replicate."""
    found = Archive(archive).rows(select)
    return [f"{row.params['x']}{row.replicate}" if "x" in row.params else row.id for row in found]


ALL = [f"{x}{rep}" for x in range(4) for rep in range(2)]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("x == 1", ["10", "11"]),
        ("params.x == 1 and rep == 1", ["11"]),
        ("parameters.x == 1 and replicate == 1", ["11"]),
        ("x in [0, 2] and not rep", ["00", "20"]),
        ("status == 'done'", ["00", "01", "10", "20", "21", "exp_b"]),
        ("params.status == 'mine' and x == 0", ["00", "01"]),
        ("status in ['failed', 'skipped']", ["11", "30", "31"]),
        ("reason.contains('today')", ["30", "31"]),
        ("error == 'FailRun' or error.message.contains('luck')", ["11"]),
        ("'paper' in tags and x == 0 and rep == 0", ["00"]),
        ("'2026-11-22' in tags and x == 0 and rep == 0", ["00"]),
        ("'pape' in tags", []),
        ("tags.contains('paper') and x == 0", ["00", "01"]),
        ("experiment == 'exp_b'", ["exp_b"]),
        ("namespace.endswith('_b')", ["exp_b"]),
        ("id.startswith('x=2')", ["20", "21"]),
        ("index > 5 and experiment == 'exp_a'", ["30", "31"]),
        ("other == 7", ["exp_b"]),
        ("not (other == 7)", []),
        ("other != 6", ["exp_b"]),
        ("loss.mean > 0.4", ["10", "11", "20", "21"]),
        ("data.loss.mean <= 0.5 and data.loss.mean > 0", ["10", "11"]),
        ("results.loss.mean == 'text'", ["exp_b"]),
        ("res.loss.mean == 1 or other == 7", ["20", "21", "exp_b"]),
        ("loss.all == [1, None, 'last']", ["10", "11"]),
        ("'last' in loss.all and x == 0", ["00", "01"]),
        ("data['two words'] == 2", ["20", "21"]),
        ("data['loss']['best.step'] == 2", ["20", "21"]),
        ("loss['best.step'] == 2", ["20", "21"]),
        ("data['µ'] == 2 or µ == 1", ["10", "11", "20", "21"]),
        ("when > '2026-11-20' and when < '2026-11-22'", ["10", "11"]),
        ("when == '2026-11-21T00:00Z'", ["10", "11"]),
        ("took >= '1h' and took < '90m'", ["10", "11"]),
        ("took in ['2h', '1h']", ["10", "11", "20", "21"]),
        ("nan == nan or nan < 1", []),
        ("nan != nan and x == 0", ["00", "01"]),
        ("none is None and x == 0", ["00", "01"]),
        ("none == 0 or none < 1", []),
        ("numpy == 2", ["20", "21"]),
        ("array == 1", []),
        ("array == 1 or x == 1", ["10", "11"]),
        ("401 in array", ["20", "21"]),
        ("long.endswith('y2')", ["20", "21"]),
        ("TEXT.startswith('xx') and x == 0", ["00", "01"]),
        ("path.endswith('raw/1')", ["10", "11"]),
        ("path == '/data/raw/1'", ["10", "11"]),
        ("pair == (1, 1)", ["10", "11"]),
        ("pair == [1, 1]", []),
        ("flag", ["20", "21"]),
        ("flag == False and x == 0", ["00", "01"]),
        ("rare == 1", ["20", "21"]),
        ("rare is None", []),
        ("x / rare > 1", ["20", "21"]),
        ("x / (x - 1) == 2", ["20", "21"]),
        ("duration < '1d' and x == 1", ["10", "11"]),
        ("size == 1.5 and run.size > 100 and x == 1", ["10", "11"]),
        ("WORDS == ['one', 'two'] and RATE * 2 == 1 and x == 1", ["10", "11"]),
        ("started > '2020-01-01' and stopped >= started and x == 1", ["10", "11"]),
        ("stopped - started < '1h' and x == 1", ["10", "11"]),
        ("seed > 0 and attempt == 0 and x == 1", ["10", "11"]),
        ("True", [*ALL, "exp_b"]),
        ("None", []),
    ],
)
def test_what_is_selected(stored: Path, select: str, expected: list[str]) -> None:
    assert ids(stored, select) == expected


def test_with_the_index_the_same_runs_are_selected(stored: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(stored, tmp_path / "results")
    archive = Archive(tmp_path / "results")
    for select in (
        "loss.mean > 0.4",
        "took in ['2h']",
        "long.endswith('y2')",
        "data['µ'] == 1",
        "401 in array",
    ):
        expected = [row.id for row in Archive(stored).rows(select)]
        for _ in range(2):
            assert [row.id for row in archive.rows(select, keep_index=True)] == expected
        assert [row.id for row in archive.rows(select)] == expected


@pytest.mark.parametrize(
    ("select", "problem", "below"),
    [
        ("lsos.mean > 1", "no run has 'lsos.mean' (did you mean 'loss.mean'", "lsos.mean"),
        ("x == 1 and statsu == 'done'", "did you mean 'status'", "statsu"),
        ("x == 1 or data['two word'] == 1", "did you mean 'data.two words'", "data['two word']"),
        ("x == true", "did you mean 'True'", "true"),
        ("started > '2026-12'", "is no date", "'2026-12'"),
        ("run.stopped > 2026", "a date is a text", "2026"),
        ("started > 2026-12-24", "a date is a text", "2026-12-24"),
        ("x = 1", "write '=='", "= 1"),
        ("duration > '2 hours'", "is no duration", "'2 hours'"),
        ("__class__ == 1", "begin with '_'", "__class__"),
        ("params.__class__ == 1", "begin with '_'", "params.__class__"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(
    stored: Path, select: str, problem: str, below: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        list(Archive(stored).runs(select))
    first, shown, caret, *_ = str(caught.value).splitlines()
    assert problem in first
    assert shown[len(caret) - 1 :].startswith(below)


def test_a_name_that_one_run_has_is_no_slip(stored: Path) -> None:
    assert ids(stored, "rare > 5") == []
    assert ids(stored, "other > 50 and rare == 1") == []


def test_in_an_empty_archive_every_name_is_right(tmp_path: Path) -> None:
    assert list(Archive(tmp_path).runs("anything == 1")) == []
    assert Archive(tmp_path).runs("anything == 1").table() == []
    assert Archive(tmp_path).runs().table(["anything"]) == []
    assert len(Archive(tmp_path).runs().to_pandas()) == 0


def test_records_of_a_selection(stored: Path) -> None:
    selection = Archive(stored).runs("x == 1")
    assert iter(selection) is selection
    first = next(selection)
    assert isinstance(first, RunRecord)
    assert first.data["loss"] == {"mean": 0.5, "all": [1, None, "last"], "best.step": 1}
    assert len(list(selection)) == 1
    assert list(selection) == []
    assert len(list(selection.rows())) == 2
    assert len(selection.table()) == 2


def test_a_table_has_values_of_their_own_types(stored: Path) -> None:
    rows = (
        Archive(stored)
        .runs("x == 2 and rep == 0")
        .table(
            [
                "id",
                "started",
                "duration",
                "tags",
                "x",
                "when",
                "took",
                "numpy",
                "pair",
                "array",
                "data.duration",
                "nan",
            ]
        )
    )
    (row,) = rows
    assert row["id"] == "x=2-rep=0"
    assert row["started"].tzinfo is UTC or row["started"].utcoffset() == timedelta(0)
    assert isinstance(row["duration"], float)
    assert row["tags"] == ["paper", "2026-11-22"]
    assert row["when"] == datetime(2026, 11, 22, tzinfo=UTC)
    assert (row["took"], row["pair"], row["data.duration"]) == (timedelta(hours=2), (2, 1), "slow")
    assert type(row["numpy"]) is np.float32
    assert row["array"].tolist() == list(range(2, 402))
    assert math.isnan(row["nan"])


def test_a_run_has_no_key_for_what_it_lacks(stored: Path) -> None:
    rows = Archive(stored).runs("rep == 0").table(["x", "rare", "other"])
    assert rows == [{"x": 0}, {"x": 1}, {"x": 2, "rare": 1}, {"x": 3}, {"other": 7}]


def test_all_columns(stored: Path) -> None:
    rows = Archive(stored).runs("experiment == 'exp_a' and x == 2").table()
    names = list(rows[0])
    assert names[:5] == ["experiment", "id", "status", "started", "duration"]
    assert {
        "x",
        "model",
        "params.status",
        "params.size",
        "RATE",
        "WORDS",
        "data.duration",
        "loss.mean",
    } <= set(names)
    assert len(set(names)) == len(names)
    for name in names:
        with_name = Archive(stored).runs("experiment == 'exp_a' and x == 2").table([name])
        assert len(with_name) == 2


def test_a_column_that_no_run_has(stored: Path) -> None:
    for name, near in (("lsos.mean", "loss.mean"), ("modle", "model"), ("params.modle", "params.model")):
        with pytest.raises(RecordNotFoundError, match=f"no run has a column '{name}'.*{near}"):
            Archive(stored).runs().table(["id", name])
        with pytest.raises(RecordNotFoundError, match=near):
            Archive(stored).runs().to_pandas([name])


def test_frames(stored: Path) -> None:
    frame = Archive(stored).runs().to_pandas(["id", "x", "loss.mean", "status", "rare"])
    assert list(frame.columns) == ["id", "x", "loss.mean", "status", "rare"]
    assert len(frame) == 9
    assert frame["x"].isna().sum() == 1
    assert frame[frame["status"] == "done"]["loss.mean"].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0, "text"]
    assert frame["rare"].notna().sum() == 2
    whole = Archive(stored).runs("experiment == 'exp_a'").to_pandas()
    assert len(whole) == 8
    assert str(whole["started"].dtype).startswith("datetime64")
    assert whole["x"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_damaged_runs_in_tables_and_selections(sweep: Path) -> None:
    (sweep / "0000-kind=a-alpha=0.1" / "experiment_meta.json").write_bytes(b"{")
    edit(sweep / "0001-kind=a-alpha=1.0" / "experiment_data.json", scores={"$": "nothing"})
    archive = Archive(sweep)
    table = archive.runs().table(["id", "status", "alpha", "scores.mean"])
    assert table[0] == {"id": "kind=a-alpha=0.1", "status": "damaged"}
    assert table[1] == {"id": "kind=a-alpha=1.0", "status": "done", "alpha": 1.0}
    assert [row.id for row in archive.rows("status == 'damaged'")] == ["kind=a-alpha=0.1"]
    assert len(list(archive.rows("status != 'damaged'"))) == 5
    assert len(list(archive.runs())) == 5
    assert "kind=a-alpha=0.1" in archive.runs().to_pandas(["id", "status"])["id"].tolist()


def test_a_hostile_name_of_a_stored_value_stays_a_name(root: Path, sweep: Path) -> None:
    hostile: dict[str, Any] = {"__class__": 1, "x'] or True or data['y": 2, "\u202e": 3, "a.b": {"c": 4}}
    edit(sweep / "0001-kind=a-alpha=1.0" / "experiment_data.json", **hostile)
    archive = Archive(root)
    assert len(list(archive.rows("data['__class__'] == 1"))) == 1
    assert len(list(archive.rows("""data["x'] or True or data['y"] == 2"""))) == 1
    assert len(list(archive.rows("data['a.b'].c == 4"))) == 1
    assert json.dumps(sorted(archive.runs("alpha == 1.0 and kind == 'a'").table()[0]))


# -- one meaning of a name, whatever a single run has -----------------------------------------------------


@pytest.mark.parametrize("kept", [False, True])
def test_a_name_that_one_experiment_has_itself_means_that_for_all_runs(stored: Path, kept: bool) -> None:
    archive = Archive(stored)
    assert [row.id for row in archive.rows("experiment == 'exp_b' and size > 0", keep_index=kept)] == []
    assert [row.id for row in archive.rows("experiment == 'exp_b' and run.size > 0")] == ["exp_b"]
    assert len(list(archive.rows("size == 1.5"))) == 8
    assert len(list(archive.rows("size > 0 or size <= 0"))) == 8
    table = archive.runs().table(["experiment", "size", "run.size"])
    assert [row.get("size") for row in table] == [1.5] * 8 + [None]
    assert all(row["run.size"] > 100 for row in table)
    # Where no run has one, it is the fact; the parameters of others do not matter to that of a part.
    (alone,) = (stored / "exp_b").iterdir()
    assert [row.id for row in Archive(alone).rows("size > 100")] == ["exp_b"]
    (long,) = archive.rows("experiment == 'exp_b'")
    with pytest.raises(LookupError):
        long.value("size")
    assert not long.is_fact("size")
    assert long.is_fact("run.size")
    assert long.is_fact("index")


def test_a_column_that_only_runs_have_which_are_not_selected(stored: Path) -> None:
    archive = Archive(stored)
    assert archive.runs("other == 7").table(["id", "rare"]) == [{"id": "exp_b"}]
    assert list(archive.runs("other == 7").to_pandas(["id", "rare"]).columns) == ["id", "rare"]
    for select in ("other == 7", "other == 8"):
        with pytest.raises(RecordNotFoundError, match=r"no run has a column 'rar'.*'rare'"):
            archive.runs(select).table(["id", "rar"])
    assert {"rare", "other", "status", "run.size"} <= archive.names()


def test_facts_that_a_run_has_not_are_none(stored: Path) -> None:
    archive = Archive(stored)
    assert len(list(archive.rows("reason is None"))) == 6
    assert len(list(archive.rows("error is None and error.message is None and problem is None"))) == 8
    assert len(list(archive.rows("version is None and repeats is None"))) == 9
    assert ids(stored, "error is not None") == ["11"]
    names = ["id", "reason", "error", "error.message", "version", "problem", "repeats"]
    assert archive.runs("other == 7").table(names) == [{"id": "exp_b"}]
    first, *_ = archive.rows("x == 3")
    assert first.value("reason") == first.tagged("reason") == "not today"
    assert first.tagged("version") is None
    assert archive.runs("x == 0").table(["data.none"]) == [{"data.none": None}] * 2  # stored, so it is there


@pytest.mark.parametrize("select", ["status == 'dnoe'", "'dnoe' != status", "run.status in ['done', 'dnoe']"])
def test_a_status_that_there_is_not(stored: Path, select: str) -> None:
    with pytest.raises(ExpressionError, match=r"there is no .*status 'dnoe'.*did you mean 'done'"):
        list(Archive(stored).rows(select))


@pytest.mark.parametrize(
    "select", ["status == done", "status in [done, 'failed']", "x == 0 and status != done"]
)
def test_a_text_without_quotes(stored: Path, select: str) -> None:
    with pytest.raises(ExpressionError, match="a text is written in quotes: 'done'"):
        list(Archive(stored).rows(select))
    with pytest.raises(ExpressionError, match="no run has 'xx'") as caught:
        list(Archive(stored).rows("xx == 1"))
    assert "quotes" not in str(caught.value)


def test_lists_of_texts_contain_what_one_of_them_does(stored: Path) -> None:
    assert len(list(Archive(stored).rows("tags.contains('pap')"))) == 8
    assert len(list(Archive(stored).rows("'pap' in tags"))) == 0
    assert len(list(Archive(stored).rows("WORDS.contains('wo') and not WORDS.contains('three')"))) == 8


def test_a_problem_names_no_place_outside_of_the_archive(root: Path, sweep: Path) -> None:
    (sweep / "0000-kind=a-alpha=0.1" / "experiment_meta.json").write_bytes(b"{")
    edit(sweep / "0001-kind=a-alpha=1.0" / "experiment_data.json", scores={"$": "nothing"})
    (sweep / "0001-kind=a-alpha=1.0" / "experiment_data.json").write_bytes(b"{")
    rows = list(Archive(root).rows("problem is not None"))
    assert len(rows) == 2
    for row in rows:
        assert row.value("problem").startswith(f"{row.folder}/experiment_")
        assert str(root) not in row.problem


def test_artifacts_in_a_zip_are_named(root: Path, tmp_path: Path) -> None:
    import shutil

    zipped = shutil.make_archive(str(tmp_path / "all"), "zip", root.parent, root.name)
    for inside, outside in zip(Archive(zipped).runs(), Archive(root).runs(), strict=True):
        assert [*inside.artifacts] == [*outside.artifacts]
        assert repr([*inside.artifacts]) in repr(inside.artifacts)


def test_results_of_past_runs_have_one_meaning_of_a_name_too(stored: Path) -> None:
    from expedition.archive.results import ResultFinder

    found = ResultFinder(stored).find("exp_a", "x == 0 and reason is None", status=None)
    assert found.table(["x", "rare"]) == [{"x": 0}] * 2
    assert found.table(["size", "flag"]) == [{"size": 1.5, "flag": False}] * 2
    with pytest.raises(RecordNotFoundError, match="no run has a column 'rar'"):
        found.table(["rar"])
    with pytest.raises(ExperimentError, match="there is no status 'dnoe'"):
        ResultFinder(stored).find("exp_a", "status == 'dnoe'")
