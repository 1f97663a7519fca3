"""Lists of an archive with runs of all fates: the numbers, computed from the files besides, and how they read."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from expedition import Archive, Run
from expedition.errors import ExperimentError, ExpressionError, RecordNotFoundError
from expedition.reporting import csv_text, formats
from expedition.reporting.formats import FORMATS
from expedition.reporting.points import Listing
from expedition.reporting.queries import RunQuery, query_rows
from expedition.reporting.run_tables import list_parts, list_runs, tail_runs
from expedition.reporting.scan import scan_runs
from tests.reporting.conftest import metas


def table_of(text: str, title: str) -> list[list[str]]:
    """The rows of the table under a title, its head first, as cells."""
    lines = text.split("\n")
    begin = next(number for number, line in enumerate(lines) if line.startswith(title)) + 1
    rule = lines[begin + 1]
    edges = [0, *(i for i in range(1, len(rule)) if rule[i] == "-" and rule[i - 1] == " "), 1000]
    rows = [lines[begin]]
    for line in lines[begin + 2 :]:
        if not line or line.startswith(("constant:", "no room")):
            break
        rows.append(line)
    return [[row[a:b].strip() for a, b in itertools.pairwise(edges)] for row in rows]


def dicts(rows: list[list[str]]) -> list[dict[str, str]]:
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def results(root: Path, **wanted: object) -> list[float]:
    """The values of rmse/mean of the done runs with these parameters, read from the files."""
    found = []
    for file in sorted(root.glob("exp_ridge/*/*/experiment_meta.json")):
        try:
            meta = json.loads(file.read_bytes())
        except ValueError:
            continue
        parameters = {name: about["value"] for name, about in meta["parameters"].items()}
        if meta["status"] == "done" and all(parameters[name] == value for name, value in wanted.items()):
            found.append(json.loads((file.parent / "experiment_data.json").read_bytes())["rmse"]["mean"])
    return found


class TestList:
    def test_replicates_are_folded(self, mixed: Path) -> None:
        text = list_runs(Archive(mixed), RunQuery())
        rows = dicts(
            table_of(
                text, "exp_ridge: 20 runs at 5 points of 2 sweeps, 16 done, 2 failed, 1 pruned, 1 damaged"
            )
        )
        assert list(rows[0])[:2] == ["alpha", "solver"]
        assert [(row["alpha"], row["solver"]) for row in rows] == [
            *(("0.5", "auto"), ("2", "auto"), ("10", "auto"), ("0.5", "svd"), ("2", "svd")),
        ]
        assert [row["n"] for row in rows] == ["3/4", "4", "1/4", "4", "4"]
        assert [row["not done"] for row in rows] == ["1 damaged", "–", "2 failed, 1 pruned", "–", "–"]
        assert [row["converged"] for row in rows] == [
            "2/3 true",
            "3/4 true",
            "1/1 true",
            "3/4 true",
            "3/4 true",
        ]
        values = results(mixed, alpha=2.0, solver="svd", FOLDS=5)
        mean, half = statistics.mean(values), stats.t.ppf(0.975, 3) * statistics.stdev(values) / 2
        assert rows[4]["rmse.mean"] == f"{mean:.1f} ± {half:.1f}"
        assert rows[2]["rmse.mean"] == str(results(mixed, alpha=10.0)[0]).removesuffix(".0")
        assert "constant: FOLDS=5" in text

    def test_without_replicates_each_run_has_its_name_and_end(self, mixed: Path) -> None:
        archive = Archive(mixed)
        rows = dicts(table_of(list_runs(archive, RunQuery()), "exp_train: 6 runs of 3 sweeps"))
        assert [row["status"] for row in rows] == [
            *("done", "skipped", "failed: TypeError", "failed: ValueError", "crashed"),
            "interrupted: KeyboardInterrupt",
        ]
        for row in rows:
            assert archive.run(row["run"]).params["how"] == row["how"]

    def test_experiments_of_one_run_share_a_table(self, mixed: Path) -> None:
        rows = dicts(table_of(list_runs(Archive(mixed), RunQuery()), "single runs"))
        assert [(row["experiment"], row["results"]) for row in rows] == [
            ("exp_one", "pi=3.25"),
            ("exp_two", "pi=6.5"),
        ]

    def test_the_last_lines_count_everything(self, mixed: Path) -> None:
        lines = list_runs(Archive(mixed), RunQuery()).split("\n")
        counts = Counter(meta["status"] for meta in metas(mixed))
        counts["crashed"] = counts.pop("running")
        assert sum(counts.values()) == 27
        assert lines[-3] == (
            f"28 runs of 4 experiments in {mixed}: {counts['done']} done, {counts['failed']} failed, 1 interrupted, "
            f"1 crashed, 1 pruned, 1 skipped, 1 damaged"
        )
        assert lines[-2] == "4 runs of testing mode are not listed: see --testing"
        assert lines[-1].startswith("damaged: ")
        assert "exp_ridge[alpha=0.5-rep=3]: experiment_meta.json is damaged" in lines[-1]

    def test_testing_runs_alone(self, mixed: Path) -> None:
        text = list_runs(Archive(mixed), RunQuery(testing=True))
        assert f"4 runs in {mixed}: 4 done" in text
        assert "constant: alpha=2, solver=auto, FOLDS=2" in text

    @pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
    def test_it_fits_the_terminal(self, mixed: Path, width: int) -> None:
        lines = list_runs(Archive(mixed), RunQuery(), width=width).split("\n")
        path = str(mixed)
        assert [line for line in lines if len(line) > width and path not in line] == []
        assert any(line.split()[:1] == ["alpha"] for line in lines)

    def test_what_a_narrow_terminal_has_no_room_for_is_named(self, mixed: Path) -> None:
        text = list_runs(Archive(mixed), RunQuery(select="experiment == 'exp_train'"), width=50)
        (line,) = (line for line in text.split("\n") if line.startswith("no room for: "))
        head = text.split("\n")[0].split()
        assert "how" in head
        assert "status" in head
        assert set(line.removeprefix("no room for: ").split(", ")) | set(head) == {
            *("how", "accuracy", "text", "status", "duration", "started", "run"),
        }

    def test_chosen_columns_are_a_row_for_each_run(self, mixed: Path) -> None:
        query = RunQuery(
            columns=("run", "alpha", "params.how", "data.pi", "duration", "tags"), sort=("-data.pi", "alpha")
        )
        text = list_runs(Archive(mixed), query)
        lines = text.split("\n")
        assert lines[0].split() == list(query.columns)
        assert lines[2].split()[3] == "6.5"
        assert len([line for line in lines[2:] if "/" in line or "6.5" in line or "3.25" in line]) >= 28
        with pytest.raises(RecordNotFoundError, match=r"no run has a column 'alpa' .did you mean 'alpha'"):
            list_runs(Archive(mixed), RunQuery(columns=("alpa",)))

    @pytest.mark.parametrize("format", FORMATS)
    def test_arrays(self, mixed: Path, format: str) -> None:
        query = RunQuery(select="how == 'well'", columns=("weights", "how"), sort=("weights",))
        text = list_runs(Archive(mixed), query, format=format)
        assert "well" in text
        assert ("npy" if format in ("json", "csv") else "ndarray[1000]") in text.replace("\\", "")

    def test_sorted_by_a_fold_and_limited(self, mixed: Path) -> None:
        query = RunQuery(select="experiment == 'exp_ridge'", sort=("-rmse.mean", "solver"), limit=3)
        text = list_runs(Archive(mixed), query)
        rows = [line.split()[:2] for line in text.split("\n")[2:5]]
        assert rows == [["10", "auto"], ["2", "auto"], ["2", "svd"]]
        assert "not shown: 2 rows beyond the limit of 3" in text

    def test_a_long_swept_parameter_tells_points_apart(self, lab_archive: Any) -> None:
        root = lab_archive(
            """
            from expedition import experiment

            @experiment.parametrize("words", ["a" * 3000, "b" * 3000])
            @experiment.replicate(2)
            def exp_long(e, words: str):
                e["n"] = len(words) + e.replicate
            """
        )
        text = list_runs(Archive(root), RunQuery())
        rows = text.split("\n")[2:4]
        assert len({row.split()[0] for row in rows}) == 2
        assert text.count("3000.5 ± 6.4") == 2, text

    def test_names_of_facts_that_runs_have_themselves(self, lab_archive: Any) -> None:
        root = lab_archive(
            """
            from expedition import experiment

            @experiment.parametrize("size", ["small", "large"])
            def exp_own(e, size: str, seed: int = 3):
                e["error"] = 0.5
            """
        )
        archive = Archive(root)
        rows = json.loads(list_runs(archive, RunQuery(), format="json"))
        assert [(row["params.size"], row["params.seed"], row["data.error"]) for row in rows] == [
            *(("small", 3, 0.5), ("large", 3, 0.5)),
        ]
        assert all(row["size"] > 100 and row["seed"] > 3 and row["error"] is None for row in rows)
        assert "small" in list_runs(archive, RunQuery(columns=("size",)))
        assert " KiB" in list_runs(archive, RunQuery(columns=("run.size",)))
        assert json.loads(tail_runs(archive, 1, RunQuery(), format="json"))[0]["error"] is None


class TestPrograms:
    def test_json_has_everything(self, mixed: Path) -> None:
        rows = json.loads(list_runs(Archive(mixed), RunQuery(), format="json"))
        assert len(rows) == 28
        (damaged,) = (row for row in rows if row["status"] == "damaged")
        assert "is damaged" in damaged["problem"]
        assert "started" not in damaged
        by_key = {row["key"] + row["sweep"]: row for row in rows if "key" in row}
        for meta in metas(mixed):
            row = by_key[meta["key"] + meta["sweep"]]
            assert row["experiment"] == meta["experiment"]["name"]
            assert row["started"] == meta["start"]
            assert row.get("duration") == meta["duration"]
            assert row["size"] == meta["size"] or (
                row["folder"].count("/") == 1
            )  # a single run shares its folder
            for name, about in meta["parameters"].items():
                assert row[name] == about["value"]
            assert (mixed / row["folder"] / "experiment_meta.json").is_file()
            assert Archive(mixed).run(row["run"]).key == meta["key"]
        assert {row["data.status"] for row in rows if row["experiment"] == "exp_ridge" and "key" in row} == {
            "fine"
        }

    def test_csv_has_the_same(self, mixed: Path) -> None:
        rows = list(
            csv.DictReader(io.StringIO(list_runs(Archive(mixed), RunQuery(), format="csv"), newline=""))
        )
        found = json.loads(list_runs(Archive(mixed), RunQuery(), format="json"))
        assert [row["id"] for row in rows] == [row["id"] for row in found]
        assert set(rows[0]) == {name for row in found for name in row} | set(rows[0])
        assert [row["duration"] for row in rows] == [
            "" if row.get("duration") is None else repr(row["duration"]) for row in found
        ]

    @pytest.mark.parametrize("format", ["json", "csv"])
    @pytest.mark.parametrize("query", [RunQuery(), RunQuery(columns=("id", "status")), RunQuery(limit=0)])
    def test_a_part_at_a_time(
        self, mixed: Path, format: str, query: RunQuery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A large archive's text is never there as a whole."""
        whole = list_runs(Archive(mixed), query, format=format)
        monkeypatch.setattr(formats, "PART", 1)
        monkeypatch.setattr(csv_text, "PART", 1)
        parts = list(list_parts(Archive(mixed), query, format=format))
        assert "".join(parts) == whole
        assert query.limit == 0 or len(parts) > len(whole.splitlines()) / 2

    def test_chosen_columns_and_limit(self, mixed: Path) -> None:
        query = RunQuery(columns=("how", "accuracy", "started"), select="how != 'x'", sort=("-how",), limit=2)
        rows = json.loads(list_runs(Archive(mixed), query, format="json"))
        assert [row["how"] for row in rows] == ["well", "value"]
        assert list(rows[0]) == ["how", "accuracy", "started"]

    @pytest.mark.parametrize("format", ["markdown", "latex"])
    def test_documents(self, mixed: Path, format: str) -> None:
        text = list_runs(Archive(mixed), RunQuery(), format=format, width=20)
        assert "3.5 ± 2.1" in text or r"3.5 \pm 2.1" in text  # never cut
        assert text.count("exp\\_ridge: 20 runs") == 1
        if format == "latex":
            assert r"$\mathbf{1.5 \pm 2.5}$" in text  # of an error the least
            assert r"$\mathbf{4}$" not in text  # only one is done


class TestEmpty:
    def test_no_runs(self, tmp_path: Path) -> None:
        archive = Archive(tmp_path)
        assert list_runs(archive, RunQuery()) == f"no runs in {tmp_path}"
        assert tail_runs(archive, 3, RunQuery(sort=("alpha",))) == f"no runs in {tmp_path}"
        assert json.loads(list_runs(archive, RunQuery(), format="json")) == []
        assert list_runs(archive, RunQuery(columns=("a",)), format="csv") == "a"
        assert list_runs(archive, RunQuery(columns=("a",))) == f"no runs in {tmp_path}"

    def test_no_match(self, mixed: Path) -> None:
        text = list_runs(Archive(mixed), RunQuery(select="alpha > 100"))
        assert text == f"no runs in {mixed} match alpha > 100"
        assert "4 runs of testing mode" in list_runs(Archive(mixed), RunQuery(select="FOLDS == 2"))


class TestTail:
    def test_the_newest_first(self, mixed: Path) -> None:
        rows = json.loads(tail_runs(Archive(mixed), 6, RunQuery(), format="json"))
        starts = sorted((meta["start"] for meta in metas(mixed)), reverse=True)
        assert [row["started"] for row in rows] == starts[:6]

    def test_a_failed_run(self, mixed: Path) -> None:
        query = RunQuery(select="error == 'ValueError' and experiment == 'exp_ridge'")
        text = tail_runs(Archive(mixed), 1, query, width=80)
        first, times, error, description = text.split("\n")
        assert first.split()[0] == "failed"
        assert first.endswith("exp_ridge[alpha=10.0-rep=1]")
        assert Archive(mixed).run(first.split()[1]).params["alpha"] == 10.0
        assert times.split()[0].startswith("20")
        assert error.strip() == "ValueError: singular"
        assert description.endswith("…")
        assert len(description) == 80
        assert "without doubt." in tail_runs(Archive(mixed), 1, query)

    def test_other_ends(self, mixed: Path) -> None:
        text = tail_runs(Archive(mixed), 28, RunQuery())
        assert len(text.split("\n\n")) == 29
        assert "– no end" in text  # the crashed one
        assert "not today" in text
        assert "damaged     " in text.split("\n\n")[-2]

    def test_formats_and_columns(self, mixed: Path) -> None:
        archive, query = Archive(mixed), RunQuery(select="status == 'done'")
        rows = list(csv.DictReader(io.StringIO(tail_runs(archive, 2, query, format="csv"), newline="")))
        assert [row["status"] for row in rows] == ["done", "done"]
        assert tail_runs(archive, 2, query, format="markdown").startswith("| experiment | id | status |")
        shown = tail_runs(archive, 2, RunQuery(columns=("id", "seed"), limit=1)).split("\n")
        assert (shown[0].split(), len(shown)) == (["id", "seed"], 3)
        with pytest.raises(ExperimentError, match="1 or more"):
            tail_runs(archive, 0, query)


class TestQuery:
    def test_rows(self, mixed: Path) -> None:
        found = query_rows(Archive(mixed), RunQuery(sort=("-duration",), limit=3))
        durations = sorted((m["duration"] for m in metas(mixed) if m["duration"] is not None), reverse=True)
        assert [row.duration for row in found.rows] == durations[:3]
        assert (found.hidden, found.cut) == (4, 25)

    def test_several_keys_and_missing_values_last(self, mixed: Path) -> None:
        rows = query_rows(Archive(mixed), RunQuery(sort=("alpha", "-replicate"))).rows
        values = [(row.value("alpha"), row.replicate) for row in rows if "alpha" in row.parameters]
        assert values == sorted(values, key=lambda pair: (pair[0], -pair[1]))
        assert all("alpha" not in row.parameters for row in rows[len(values) :])

    def test_limits_and_wrong_keys(self, mixed: Path) -> None:
        archive = Archive(mixed)
        assert query_rows(archive, RunQuery(limit=0)).cut == 28
        with pytest.raises(ExperimentError, match="0 or more, not -1"):
            query_rows(archive, RunQuery(limit=-1))
        with pytest.raises(ExperimentError, match="'-' is no name to sort by"):
            query_rows(archive, RunQuery(sort=("-",)))
        with pytest.raises(RecordNotFoundError, match=r"no run has 'durration' .did you mean 'duration'"):
            list_runs(archive, RunQuery(sort=("durration",)))
        with pytest.raises(ExpressionError, match="did you mean 'alpha'"):
            list_runs(archive, RunQuery(select="alpah == 1"))

    def test_runs_of_a_renamed_sweep_have_names_too(self, mixed: Path, tmp_path: Path) -> None:
        for sweep in mixed.glob("exp_*/*"):
            shutil.copytree(sweep, tmp_path / sweep.parent.name / f"copy of {sweep.name}")
        archive = Archive(tmp_path)
        rows = [row for row in archive.rows() if row.status != "damaged"]
        assert len({row.reference for row in rows}) == len(rows) == 31
        assert [archive.run(row.reference).path for row in rows] == [row.path for row in rows]

    def test_a_report_keeps_the_index_and_needs_none(self, mixed: Path, tmp_path: Path) -> None:
        root = tmp_path / "copy"
        shutil.copytree(mixed, root)
        shutil.rmtree(root / ".expedition", ignore_errors=True)
        text = list_runs(Archive(root), RunQuery())
        assert text == list_runs(Archive(root), RunQuery())

    def test_a_column_has_one_meaning_and_is_known_from_other_runs(self, lab_archive: Any) -> None:
        root = lab_archive(
            """
            from expedition import experiment

            @experiment.parametrize("size", [7, 20])
            def exp_own(e, size: int, lr: float = 0.5):
                e["n"] = size

            @experiment
            def exp_plain(e):
                e["n"] = 1
            """
        )
        archive = Archive(root)

        def column(name: str, **query: Any) -> list[str]:
            text = list_runs(archive, RunQuery(columns=("experiment", name), **query), format="csv")
            assert "\r" not in text
            return [row[1] for row in csv.reader(io.StringIO(text))][1:]

        assert column("size", sort=("-size",)) == ["20", "7", ""]
        assert all(int(size) > 100 for size in column("run.size"))
        assert column("lr", select="experiment == 'exp_plain'", sort=("-lr",)) == [""]
        for query in (RunQuery(columns=("lr",), limit=0), RunQuery(sort=("lr",), select="n == 1")):
            list_runs(archive, query)
        text = list_runs(archive, RunQuery(columns=("id", "size", "tags", "notes")))
        assert text.splitlines()[-2].split() == ["exp_plain", "–", "–", "–"]
        with pytest.raises(RecordNotFoundError, match="did you mean 'size'"):
            list_runs(archive, RunQuery(columns=("sizze",), select="n == 1"))
        assert "20" in scan_runs(archive, "size", RunQuery())
        assert "–" in scan_runs(archive, "lr", RunQuery(select="n == 1"))
        rows = json.loads(list_runs(archive, RunQuery(columns=("reason", "size")), format="json"))
        assert [row["reason"] for row in rows] == [None] * 3
        assert ["size" in row for row in rows] == [True, True, False]


def test_what_is_damaged_of_a_run_is_told(mixed: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(mixed, tmp_path / "results"))
    row = next(row for row in Archive(root).rows("experiment == 'exp_ridge' and status == 'done'"))
    (row.path / "experiment_data.json").write_text("{broken", encoding="utf-8")
    lines = list_runs(Archive(root), RunQuery()).split("\n")
    assert sum(line.startswith("damaged: ") for line in lines) == 1  # as many as the line above counts
    assert any(line.startswith(f"data damaged: {row.reference} ") for line in lines)


def test_a_narrow_list_keeps_what_runs_are_compared_by(tmp_path: Path) -> None:
    for number in range(3):
        with Run.detached(tmp_path / str(number), size=number) as e:
            for name in ("first", "second", "third", "fourth"):
                e[f"{name}_of_the_numbers"] = number + 0.123456
            e["best_error"] = 1.0 / (number + 1)
    (listing,) = [Listing([row for path in tmp_path.iterdir() for row in Archive(path).rows()])]
    assert listing.drop[-2:] == ["best_error", "not done"]
    assert listing.drop.index("fourth_of_the_numbers") < listing.drop.index("second_of_the_numbers")
