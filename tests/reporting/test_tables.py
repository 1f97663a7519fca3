"""Tables: what a person sees, what a program reads, and the folding of a sweep."""

from __future__ import annotations

import enum
import json
import math
import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from expedition.errors import ExperimentError, UnstorableError
from expedition.reporting.cells import Distinct, Done, Share, format_cell
from expedition.reporting.formats import render_table
from expedition.reporting.tables import (
    SweepTable,
    sweep_table,
)
from expedition.trajectory.statistics import mean_interval
from expedition.values import decode

NAN = math.nan


class Level(enum.IntEnum):
    LOW = 1


CELLS: list[tuple[object, str]] = [
    (None, "–"),
    (True, "True"),
    (np.True_, "True"),
    (12345678, "12345678"),
    (np.int64(7), "7"),
    (1 / 3, "0.333333"),
    (np.float32(0.1), "0.1"),
    (1e-5, "1e-5"),
    (NAN, "nan"),
    (Level.LOW, "LOW"),
    (Decimal("1.10"), "1.10"),
    ("a\nb\x1b[31m\tc", "a b [31m c"),
    ([1.0, None, "x"], "[1, –, x]"),
    ((1, 2), "(1, 2)"),
    ({"a": 0.1}, "{a: 0.1}"),
    (np.zeros((3, 4)), "ndarray[3×4]"),
    (np.array(2.5), "2.5"),
    (timedelta(minutes=5), "0:05:00"),
    (-(10**500), "-2^1660.96"),
    (Share(2, 3), "2/3 true"),
    (Distinct(4), "…(4 values)"),
    (Done(3, 3), "3"),
    (Done(2, 3), "2/3"),
    (mean_interval([1, 2, 3]), "2.0 ± 2.5"),
]


class TestCell:
    @pytest.mark.parametrize(
        ("value", "expected"),
        CELLS,
        ids=[f"{type(value).__module__}.{type(value).__name__}: {text}" for value, text in CELLS],
    )
    def test_text(self, value: object, expected: str) -> None:
        assert format_cell(value) == expected

    def test_long_text_is_cut(self) -> None:
        assert format_cell("abcdefgh", 5) == "abcd…"
        assert format_cell("abcde", 5) == "abcde"


ROWS: list[dict[str, object]] = [
    {"alpha": 0.5, "name": "007", "n": 3, "loss": 1.25},
    {"alpha": 10.25, "name": "ünï – a longer name", "n": None, "loss": NAN},
    {"alpha": 1, "name": "1e5", "n": 1000},
]


class TestRender:
    def test_text(self) -> None:
        table = render_table(ROWS, ["alpha", "name", "n", "loss"], headers={"n": "runs"}, max_width=10)
        assert [line.rstrip() for line in table.splitlines()] == [
            "alpha  name        runs  loss",
            "-----  ----------  ----  ----",
            " 0.5   007            3  1.25",
            "10.25  ünï – a l…     –   nan",
            " 1     1e5         1000     –",
        ]

    def test_text_without_rows_or_columns(self) -> None:
        assert render_table([], ["a", "b"]).splitlines()[0].split() == ["a", "b"]
        assert render_table(ROWS, []) == ""

    def test_json_is_strict_and_complete(self) -> None:
        text = render_table(ROWS, ["name", "alpha", "n", "loss"], format="json", max_width=3)
        rows = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert [list(row) for row in rows] == [["name", "alpha", "n", "loss"]] * 2 + [["name", "alpha", "n"]]
        assert rows[0] == ROWS[0]
        assert rows[1]["n"] is None
        assert math.isnan(decode(rows[1]["loss"]))
        assert "ünï" in text
        assert json.loads(render_table([], ["a"], format="json")) == []

    def test_unstorable_in_json_names_the_column(self) -> None:
        with pytest.raises(UnstorableError, match="odd"):
            render_table([{"odd": object()}], ["odd"], format="json")

    def test_unknown_format(self) -> None:
        with pytest.raises(ExperimentError, match=r"'jsn'.*did you mean 'json'"):
            render_table(ROWS, ["n"], format="jsn")
        with pytest.raises(ExperimentError, match="format"):
            SweepTable(("n",), ((1,),)).render("yaml")


def run(alpha: float, replicate: int, status: str = "done", **results: object) -> dict[str, object]:
    fixed = {"fit": True, "folds": [1, 2]}
    return {"alpha": alpha, **fixed, "replicate": replicate, "status": status, **results}


PARAMETERS = ["fit", "alpha", "folds"]


def fold(runs: list[dict[str, object]], *results: str, **options: object) -> SweepTable:
    return sweep_table(runs, parameters=PARAMETERS, results=results, replicates=True, **options)  # type: ignore[arg-type]


def cells(table: SweepTable, column: str) -> list[object]:
    return [row[table.columns.index(column)] for row in table.rows]


class TestSweep:
    def test_folded(self) -> None:
        values = {10.0: [57.0, 57.5, 58.1], 0.1: [60.0, 61.0, 62.5]}
        runs = [run(a, r, rmse=values[a][r], ok=r > 0) for r in range(3) for a in values]
        table = fold(runs, "rmse", "ok")
        assert table.columns == ("alpha", "rmse", "ok", "n")
        assert table.constants == {"fit": True, "folds": [1, 2]}
        assert table.rows == (
            (10.0, mean_interval(values[10.0]), Share(2, 3), Done(3, 3)),
            (0.1, mean_interval(values[0.1]), Share(2, 3), Done(3, 3)),
        )
        assert [line.rstrip() for line in table.render().splitlines()] == [
            "alpha        rmse        ok  n",
            "-----  ----------  --------  -",
            " 10    57.5 ± 1.4  2/3 true  3",
            "  0.1  61.2 ± 3.1  2/3 true  3",
            "constant: fit=True, folds=[1, 2]",
        ]

    def test_failures_are_counted_and_their_values_left_out(self) -> None:
        runs = [run(1, 0, rmse=1.0), run(1, 1, rmse=3.0), run(1, 2, "failed", rmse=1000.0)]
        runs += [run(2, r, status) for r, status in enumerate(["crashed", "timeout", "interrupted"])]
        runs += [run(3, 0, rmse=5), run(3, 1, "pending"), run(3, 2, "skipped"), run(3, 3, "pruned", rmse=9)]
        table = fold(runs, "rmse")
        assert table.columns == ("alpha", "rmse", "n", "failed", "skipped", "pruned")
        assert cells(table, "failed") == [1, 3, 0]
        assert cells(table, "skipped") == cells(table, "pruned") == [0, 0, 1]
        assert cells(table, "n") == [Done(2, 3), Done(0, 3), Done(1, 4)]
        assert cells(table, "rmse")[:2] == [mean_interval([1.0, 3.0]), None]
        lines = table.render().splitlines()
        assert "2 ± 13" in lines[2]
        assert lines[4].split() == ["3", "5", "1/4", "0", "1", "1"]
        assert "5 (n=1)" in fold([run(1, 0, rmse=5), run(1, 1), run(2, 0)], "rmse").render()

    def test_no_failed_column_without_failures(self) -> None:
        assert "failed" not in fold([run(1, 0), run(2, 0, "pending")]).columns

    def test_kinds_of_results(self) -> None:
        runs = [
            run(
                1,
                r,
                word="same",
                other=f"w{r}",
                none=None,
                mixed=[1, True, 2.0][r],
                array=np.arange(3),
                big=[r],
            )
            for r in range(3)
        ]
        table = fold(runs, "word", "other", "none", "mixed", "array", "big", "absent")
        row = dict(zip(table.columns, table.rows[0], strict=True))
        assert row["word"] == "same"
        assert row["other"] == Distinct(3)
        assert row["none"] is row["absent"] is None
        assert row["mixed"] == mean_interval([1, 1, 2])
        assert row["big"] == Distinct(3)
        assert np.array_equal(row["array"], np.arange(3))  # type: ignore[arg-type]
        assert "…(3 values)" in table.render()

    def test_missing_values_show_in_the_cell(self) -> None:
        runs = [run(1, 0, rmse=1.0), run(1, 1, rmse=NAN), run(1, 2), run(1, 3, rmse=3.0)]
        assert "2 ± 13 (n=2)" in fold(runs, "rmse").render()

    def test_one_replicate(self) -> None:
        assert fold([run(1, 0, rmse=1.5), run(2, 0, rmse=2.5)], "rmse").render().splitlines()[2].split() == [
            *("1", "1.5", "1")
        ]

    def test_values_of_other_types_are_other_points(self) -> None:
        values = [1, True, 1.0, "1", None, NAN, [1], (1,), [1], NAN, np.arange(2000), np.arange(2000)]
        runs: list[Mapping[str, object]] = [{"p": value, "status": "done"} for value in values]
        runs += [{"status": "done"}]
        table = sweep_table(runs, parameters=["p"], results=[], replicates=True)
        assert [settled.total for settled in cells(table, "n")] == [1, 1, 1, 1, 1, 2, 2, 1, 2, 1]  # type: ignore[attr-defined]

    def test_a_parameter_that_cannot_be_stored(self) -> None:
        first, second = object(), object()
        runs: list[Mapping[str, object]] = [
            {"p": value, "status": "done"} for value in (first, first, second)
        ]
        table = sweep_table(runs, parameters=["p"], results=[], replicates=True)
        assert [settled.total for settled in cells(table, "n")] == [2, 1]  # type: ignore[attr-defined]

    def test_single_run(self) -> None:
        table = sweep_table([run(1, 0, rmse=2.0)], parameters=PARAMETERS, results=["rmse"], replicates=False)
        assert table.columns == ("rmse",)
        assert table.render().splitlines()[-1] == "constant: fit=True, alpha=1, folds=[1, 2]"

    def test_no_runs(self) -> None:
        table = sweep_table([], parameters=PARAMETERS, results=[], replicates=False)
        assert table.render() == ""
        assert table.constants == {}

    def test_unfolded(self) -> None:
        runs = [run(1, 0, rmse=1.0), run(2, 0, rmse=2.0)]
        table = sweep_table(runs, parameters=PARAMETERS, results=["rmse"], replicates=False)
        assert table.columns == ("alpha", "rmse")
        assert table.rows == ((1, 1.0), (2, 2.0))
        runs.append(run(3, 0, "failed", rmse=9.0))
        table = sweep_table(runs, parameters=PARAMETERS, results=["rmse"], replicates=False)
        assert table.columns == ("alpha", "rmse", "status")
        assert table.rows[2] == (3, 9.0, "failed")

    def test_own_columns_never_hide_results(self) -> None:
        runs = [run(1, 0, n=5, failed="x"), run(1, 1, "failed")]
        assert fold(runs, "n", "failed").columns == ("n", "failed", "n_", "failed_")

    def test_a_result_named_as_a_parameter_is_shown_once(self) -> None:
        runs = [run(1, 0), run(2, 0)]
        assert fold(runs, "alpha", "x", "x").columns == ("alpha", "x", "n")

    def test_rows_are_limited(self) -> None:
        runs = [run(a, 0, rmse=a) for a in range(100)]
        table = fold(runs, "rmse")
        assert [row[0] for row in table.rows] == [*range(20), *range(80, 100)]
        lines = table.render().splitlines()
        assert lines[2 + 20].split() == ["…"] * 3
        assert len(lines) == 2 + 41 + 2
        assert lines[-1] == "not shown: 60 rows"
        assert [row[0] for row in fold(runs, "rmse", max_rows=5).rows] == [0, 1, 2, 98, 99]
        assert len(fold(runs, "rmse", max_rows=None).rows) == 100
        assert fold(runs[:40], "rmse").hidden_rows == 0

    def test_results_are_limited(self) -> None:
        names = [f"r{index}" for index in range(12)]
        table = fold([run(1, 0) | dict.fromkeys(names, 1), run(2, 0)], *names, max_columns=3)
        assert table.columns == ("alpha", "r0", "r1", "r2", "n")
        assert table.hidden_results == tuple(names[3:])
        assert table.render().splitlines()[-1] == "not shown: 9 results"
        assert len(fold([run(1, 0)], *names, max_columns=None).columns) == 13

    def test_long_constants_are_cut(self) -> None:
        table = SweepTable(("a",), ((1,),), constants={"text": "x" * 100})
        assert table.constants_line() == f"constant: text={'x' * 39}…"

    def test_json(self) -> None:
        runs = [run(a, r, rmse=a + r, ok=True, word=str(r)) for a in (1, 2) for r in range(2)]
        runs.append(run(2, 2, "failed"))
        found = json.loads(fold(runs, "rmse", "ok", "word").render("json"))
        assert found["columns"] == ["alpha", "rmse", "ok", "word", "n", "failed"]
        assert found["constants"] == {"fit": True, "folds": [1, 2]}
        row = found["rows"][1]
        assert row["rmse"]["mean"] == 2.5
        assert (row["rmse"]["n"], row["ok"], row["word"]) == (2, {"true": 2, "n": 2}, {"count": 2})
        assert (row["n"], row["failed"]) == ({"done": 2, "total": 3}, 1)

    def test_many_runs(self) -> None:
        runs = [run(a, r, rmse=1.0) for a in range(10_000) for r in range(3)]
        start = time.process_time()
        fold(runs, "rmse").render()
        assert time.process_time() - start < 3
