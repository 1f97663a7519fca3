"""The overview and groups of runs: every number against one that is computed from the files besides."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from expedition import Archive
from expedition.errors import ExperimentError, ExpressionError, RecordNotFoundError
from expedition.reporting.overview import overview
from expedition.reporting.queries import RunQuery
from expedition.reporting.scan import scan_runs
from tests.reporting.conftest import metas

NOW = datetime(2100, 1, 1, tzinfo=UTC)
EVERY = RunQuery()


def file_sizes(root: Path) -> int:
    return sum(
        path.stat().st_size for path in root.rglob("*") if path.is_file() and ".expedition" not in path.parts
    )


class TestOverview:
    def test_numbers(self, mixed: Path) -> None:
        found = json.loads(overview(Archive(mixed), EVERY, format="json"))
        files = metas(mixed)
        assert found["runs"] == len(files) + 1
        statuses = Counter(meta["status"] for meta in files)
        assert statuses.pop("running") == 1  # it says so, and its process is dead
        assert found["statuses"] == {**statuses, "crashed": 1, "damaged": 1}
        assert found["success"] == {"part": statuses["done"], "whole": 25, "rate": statuses["done"] / 25}
        durations = [meta["duration"] for meta in files if meta["duration"] is not None]
        assert found["duration"] == {
            "total": pytest.approx(sum(durations)),
            "mean": pytest.approx(statistics.mean(durations)),
            "median": statistics.median(durations),
            "longest": max(durations),
        }
        moment = datetime.fromisoformat
        assert moment(found["first"]) == min(moment(meta["start"]) for meta in files)
        assert moment(found["last"]) == max(moment(meta["start"]) for meta in files)
        assert (found["sweeps"], found["hidden"]) == (7, 4)
        assert [error["type"] for error in found["errors"]] == [
            *("ValueError", "KeyboardInterrupt", "TypeError", "crashed"),
        ]
        assert [error["count"] for error in found["errors"]] == [3, 1, 1, 1]
        assert sum(error["share"] for error in found["errors"]) == pytest.approx(1)
        assert [row["folder"].partition("/")[0] for row in found["damaged"]] == ["exp_ridge"]

    def test_every_byte_of_the_archive_is_counted_once(self, mixed: Path) -> None:
        both = [
            json.loads(overview(Archive(mixed), RunQuery(testing=flag), format="json"))
            for flag in (True, False)
        ]
        own = [path for path in mixed.iterdir() if path.is_file()]
        counted = sum(found["size"] + found["size_besides_runs"] for found in both)
        assert counted == file_sizes(mixed) - sum(path.stat().st_size for path in own)

    def test_by_experiment(self, mixed: Path) -> None:
        found = json.loads(overview(Archive(mixed), EVERY, format="json"))["experiments"]
        assert [entry["experiment"] for entry in found] == ["exp_one", "exp_ridge", "exp_train", "exp_two"]
        for entry in found:
            files = [meta for meta in metas(mixed) if meta["experiment"]["name"] == entry["experiment"]]
            damaged = entry["statuses"].get("damaged", 0)
            assert entry["runs"] == len(files) + damaged
            assert entry["statuses"].get("done", 0) == sum(meta["status"] == "done" for meta in files)
            assert entry["duration"]["total"] == pytest.approx(sum(meta["duration"] or 0 for meta in files))
            for name, about in entry["parameters"].items():
                values = [meta["parameters"][name]["value"] for meta in files]
                assert about["count"] == len(about["values"]) == len(set(values))
                assert set(about["values"]) == set(values)

    def test_for_people(self, mixed: Path) -> None:
        text = overview(Archive(mixed), EVERY, width=100, now=NOW)
        for part in (
            "runs      28 of 4 experiments in 7 sweeps",
            "success   19/25 (76 %) of the runs that ended and were not skipped or pruned",
            "19 done, 4 failed, 1 interrupted, 1 crashed, 1 pruned, 1 skipped, 1 damaged",
            "exp_ridge   alpha      0.5, 2, 10\n            solver     auto, svd\n            constant   FOLDS=5",
            "ValueError         3/6 (50 %)",
            "4 runs of testing mode are not listed",
            "damaged: ",
        ):
            assert part in text, text
        assert all(len(line) <= 100 for line in text.split("\n") if str(mixed) not in line)

    @pytest.mark.parametrize("width", [50, 80])
    def test_it_fits_the_terminal(self, mixed: Path, width: int) -> None:
        text = overview(Archive(mixed), EVERY, width=width)
        assert [line for line in text.split("\n") if len(line) > width and str(mixed) not in line] == []

    def test_a_selection_sorted_and_limited(self, mixed: Path) -> None:
        query = RunQuery(select="status == 'done'", sort=("-runs",), limit=1)
        found = json.loads(overview(Archive(mixed), query, format="json"))
        assert [entry["experiment"] for entry in found["experiments"]] == ["exp_ridge"]
        assert found["success"]["rate"] == 1.0
        assert found["errors"] == []
        assert "not shown: 3 experiments beyond the limit of 1" in overview(Archive(mixed), query)

    def test_documents_and_csv(self, mixed: Path) -> None:
        rows = list(csv.DictReader(io.StringIO(overview(Archive(mixed), EVERY, format="csv"), newline="")))
        assert [(row["experiment"], row["runs"], row["done"], row["ended"]) for row in rows] == [
            *(("exp_one", "1", "1", "1"), ("exp_ridge", "20", "16", "18"), ("exp_train", "6", "1", "5")),
            ("exp_two", "1", "1", "1"),
        ]
        assert "| exp\\_ridge | 20 | 16/18 (89 %) |" in overview(Archive(mixed), EVERY, format="markdown")
        assert r"exp\_ridge & $20$ & 16/18 (89 \%)" in overview(Archive(mixed), EVERY, format="latex")

    def test_an_empty_archive(self, tmp_path: Path) -> None:
        assert overview(Archive(tmp_path), EVERY) == f"no runs in {tmp_path}"
        found = json.loads(overview(Archive(tmp_path), EVERY, format="json"))
        assert (found["runs"], found["success"]["rate"], found["duration"]["mean"]) == (0, None, None)
        assert overview(Archive(tmp_path), EVERY, format="csv").startswith("experiment,runs,")


def rows_of(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)
    return found


class TestScan:
    def test_numbers(self, mixed: Path) -> None:
        rows = rows_of(scan_runs(Archive(mixed), "alpha", EVERY, format="json"))
        assert [row.get("alpha") for row in rows] == [0.5, 2.0, 10.0, None]
        for row in rows[:3]:
            files = [m for m in metas(mixed) if m["parameters"].get("alpha", {}).get("value") == row["alpha"]]
            done = [meta for meta in files if meta["status"] == "done"]
            failed = [meta for meta in files if meta["status"] == "failed"]
            assert (row["runs"], row["done"], row["ended"]) == (
                len(files),
                len(done),
                len(done) + len(failed),
            )
            assert row["success"] == len(done) / (len(done) + len(failed))
            assert row["mean_duration"] == pytest.approx(statistics.mean(meta["duration"] for meta in files))
            assert row["disk"] == sum(meta["size"] for meta in files)
            assert row["last_done"] == max(meta["stop"] for meta in done)
        assert "alpha" not in rows[3]
        assert rows[3]["runs"] == 28 - sum(row["runs"] for row in rows[:3])

    def test_for_people(self, mixed: Path) -> None:
        lines = scan_runs(Archive(mixed), "solver", EVERY, now=NOW).split("\n")
        assert lines[0].split() == [
            "solver",
            "runs",
            "success",
            *["last", "done", "age", "mean", "duration", "disk"],
        ]
        assert [line.split()[0] for line in lines[2:5]] == ["auto", "svd", "–"]
        assert "8/8 (100 %)" in lines[3]
        assert " d ago" in lines[3]
        assert lines[5].startswith(f"3 groups of 28 runs in {mixed}: 19 done, ")
        assert lines[6] == "4 runs of testing mode are not listed: see --testing"

    def test_by_expression_and_fact(self, mixed: Path) -> None:
        rows = rows_of(scan_runs(Archive(mixed), "rmse.mean > 3", EVERY, format="json"))
        assert [row.get("rmse.mean > 3") for row in rows] == [False, True, None]
        rows = rows_of(scan_runs(Archive(mixed), "status", EVERY, format="json"))
        assert {row["status"]: row["runs"] for row in rows} == {
            "crashed": 1,
            "damaged": 1,
            "done": 19,
            "failed": 4,
            "interrupted": 1,
            "pruned": 1,
            "skipped": 1,
        }

    def test_sorted_limited_and_with_columns(self, mixed: Path) -> None:
        query = RunQuery(sort=("-runs",), limit=2, columns=("runs",))
        rows = rows_of(scan_runs(Archive(mixed), "experiment", query, format="json"))
        assert rows == [{"experiment": "exp_ridge", "runs": 20}, {"experiment": "exp_train", "runs": 6}]
        assert "not shown: 2 groups beyond the limit of 2" in scan_runs(Archive(mixed), "experiment", query)

    def test_by_an_array(self, mixed: Path) -> None:
        lines = scan_runs(Archive(mixed), "weights", EVERY).split("\n")
        assert [line.split()[:2] for line in lines[2:4]] == [["ndarray[1000]", "6"], ["–", "22"]]
        assert rows_of(scan_runs(Archive(mixed), "weights", EVERY, format="json"))[0]["runs"] == 6

    def test_wrong_names(self, mixed: Path) -> None:
        archive = Archive(mixed)
        with pytest.raises(ExpressionError, match="did you mean 'solver'"):
            scan_runs(archive, "solvre", EVERY)
        with pytest.raises(ExpressionError):
            scan_runs(archive, "__import__('os')", EVERY)
        with pytest.raises(RecordNotFoundError, match="groups have no column 'size'"):
            scan_runs(archive, "solver", RunQuery(columns=("size",)))
        with pytest.raises(ExperimentError, match="groups cannot be sorted by 'alpha'"):
            scan_runs(archive, "solver", RunQuery(sort=("alpha",)))

    def test_a_group_of_nothing_is_not_that_of_the_runs_that_lack_it(self, lab_archive: Any) -> None:
        root = lab_archive(
            """
            from expedition import experiment

            @experiment.parametrize("value", ["a10", "a9", None, "", 1, 1.0, True, float("nan"), [1, 2]])
            def exp_any(e, value):
                if value != 1:
                    e["there"] = value
            """
        )
        lines = scan_runs(Archive(root), "value", EVERY).split("\n")[2:]
        names = [line.split("  ")[0] for line in lines]
        assert names[:8] == ["1", "True", "''", "a9", "a10", "[1, 2]", "None", "nan"]
        assert lines[0].split()[1] == "2"  # 1 and 1.0 are one group
        lines = scan_runs(Archive(root), "there", EVERY).split("\n")[2:]
        assert [line.split("  ")[0] for line in lines[:7]] == [
            "''",
            "a9",
            "a10",
            "[1, 2]",
            "None",
            "nan",
            "–",
        ]
        assert lines[6].split()[1] == "3"

    def test_an_empty_archive(self, tmp_path: Path) -> None:
        assert scan_runs(Archive(tmp_path), "alpha", EVERY) == f"no runs in {tmp_path}"
        assert rows_of(scan_runs(Archive(tmp_path), "alpha", EVERY, format="json")) == []


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(days=3), "3 d ago"),
        (timedelta(hours=47, minutes=59), "47 h ago"),
        (timedelta(minutes=119), "119 min ago"),
        (timedelta(seconds=119), "119 s ago"),
        (timedelta(0), "just now"),
        (timedelta(hours=-1), "just now"),
    ],
)
def test_age(age: timedelta, text: str) -> None:
    from expedition.reporting.durations import format_age

    assert format_age(NOW - age, NOW) == text
    assert format_age(None, NOW) == "–"
