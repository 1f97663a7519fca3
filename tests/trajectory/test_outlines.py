"""What is shown of a trajectory: outlines as text and as HTML, bounded, escaped and never failing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.file import format as fmt
from tests.trajectory.conftest import BuildSweep

EVIL = "<script>alert('x')</script>"


class Reader(HTMLParser):
    """Checks that tags are closed in order, and collects them and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert set(reader.tags) <= {
        "div",
        "strong",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "td",
        "th",
        "span",
    }
    assert set(reader.attributes) <= {"style", "open"}
    return reader


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    rows = [{"alpha": a} for a in (0.1, 1.0, 10.0) for _ in range(2)]
    builder = build_sweep(rows, {"N": 5, "layers": [1, 2], "w": np.arange(3.0)}, options={EVIL: EVIL})
    for i in range(5):
        data: dict[str, Any] = {
            "rmse/mean": i + 0.25,
            "word": ["x", EVIL, "z\x1b[31m\n"][i % 3],
            "V": np.arange(20.0),
            "ragged": np.arange(i),
            "flag": i > 2,
            "when": dt.datetime(2026, 1, i + 1),
            "lag": dt.timedelta(seconds=i),
            "fine": np.datetime64(i, "ns"),
            "mixed": [1, "a", None, [1, 2], {"a": 1}][i],
            "odd": [(i,), (i, "x"), {1: 2}, b"b", {"a": {}, "b": 1, "c": 2, "d": 3, "e": 4}][i],
            "span": np.timedelta64(i, "ms"),
            "frame": pd.DataFrame({"a": [1, 2]}),
            "c": 1j,
            "long": "x" * 10_000,
            "big": 10**5000,
            "none": None,
            "nan": float("nan"),
        }
        if i == 2:
            del data["flag"]
        notes = {"rmse/mean": {"unit": "K", "comment": EVIL}}
        builder.run(i, data, series={"loss": [0.5] * i}, annotations=notes)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def lines(text: str) -> dict[str, str]:
    """Leaves of an outline by name, with blanks folded."""
    split = (line.split(None, 1) for line in text.splitlines())
    return {name: " ".join(rest[0].split()) for name, *rest in split if rest}


def test_the_outline_of_a_trajectory(traj: Trajectory) -> None:
    text = repr(traj)
    head, *rest = text.splitlines()
    assert head == f"<Trajectory {str(traj.path)!r}: 6 runs (5 done, 1 pending)>"
    assert [line for line in rest if not line.startswith(" ")] == [
        "parameters",
        "results",
        "config",
        "series",
    ]
    shown = lines(text)
    assert shown["alpha"] == "float 0.1, 1, 10; swept"
    assert shown["N"] == "int 5"
    assert shown["layers"] == "json [1, 2]"
    assert shown["w"] == "array float64 3"
    assert shown["mean"] == "float [K] 0.25 … 4.25; 5 of 6 runs"
    assert shown["V"] == "array float64 20; 5 of 6 runs"
    assert shown["ragged"] == "array int64 ragged; 5 of 6 runs"
    assert shown["flag"] == "bool 2 true, 2 false; 4 of 6 runs"
    assert shown["when"] == "datetime 2026-01-01 00:00:00 … 2026-01-05 00:00:00; 5 of 6 runs"
    assert shown["lag"] == "timedelta 0:00:00 … 0:00:04; 5 of 6 runs"
    assert shown["fine"].startswith("datetime 1970-01-01T00:00:00.000000000 … 1970-01-01T00:00:00.000000004")
    assert shown["mixed"] == "json 1, 'a', None, [1, 2], …; 5 of 6 runs"
    assert shown["odd"] == "json (0,), (1, 'x'), {1: 2}, b'b', …; 5 of 6 runs"
    assert shown["span"] == "timedelta 0:00:00 … 0:00:00.004000; 5 of 6 runs"
    assert shown["frame"] == "frame 5 of 6 runs"
    assert shown["c"] == "complex 1j; 5 of 6 runs"
    assert shown["loss"] == "float 10 observations in 4 runs"
    assert shown["none"] == "float 5 of 6 runs"
    assert all(len(line) < 200 for line in rest)
    assert "\x1b" not in text
    assert repr(traj) == str(traj)


def test_outlines_of_groups_selections_columns_and_runs(traj: Trajectory) -> None:
    assert repr(traj.res).splitlines()[:3] == [
        "<group 'results': 17 columns>",
        "rmse",
        repr(traj.res).splitlines()[2],
    ]
    assert lines(repr(traj.par))["alpha"] == "float 0.1, 1, 10; swept"
    view = traj[1:3]
    assert repr(view).startswith(f"<2 of 6 runs of {str(traj.path)!r}: 2 runs (2 done)>\nparameters")
    assert lines(repr(view))["mean"] == "float [K] 1.25, 2.25"
    assert (
        repr(traj.res.rmse.mean) == "<Column 'results/rmse/mean' float (6,) [K]: 0.25, 1.25, 2.25, 3.25, …>"
    )
    assert repr(traj[3]) == f"<run 3 {traj[3].id!r} done>"
    assert "rmse/mean = 3.25 K" in repr(traj[3].res)
    assert "span = 3 milliseconds" in repr(traj[3].res)
    assert "odd = b'b'" in repr(traj[3].res)
    assert "V = array float64 20" in repr(traj[3].res)
    assert "loss = 3 observations" in repr(traj[3].series)
    assert "flag" not in repr(traj[2].res)
    assert repr(traj[5].res) == "<results of run 5: 0 values>"


def test_html_is_escaped_and_has_no_scripts(traj: Trajectory) -> None:
    shown = [traj, traj[1:3], traj.res, traj.conf, traj.res.rmse.mean, traj.res.word, traj[1], traj[1].res]
    shown += [traj.aggregate(), traj.series.loss]
    for each in shown:
        html = each._repr_html_()
        reader = parse(html)
        assert "script" not in reader.tags
        assert "<script" not in html
    assert "alert('x')" in parse(traj.res.word._repr_html_()).text
    assert "details" in parse(traj._repr_html_()).tags
    assert "swept" in parse(traj._repr_html_()).text
    assert "1.25 K" in parse(traj[1]._repr_html_()).text
    assert EVIL in parse(traj.res._repr_html_()).text  # the comment


def test_outlines_are_bounded(build_sweep: BuildSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "LEAF_LIMIT", 350)
    builder = build_sweep([{"i": i} for i in range(3)])
    results = {f"g{k % 7}/m{k:04d}": k + 0.5 for k in range(400)}
    builder.run(0, tagged=results, series={f"s{k}": [1] for k in range(40)})
    with pytest.warns(UserWarning, match="share one JSON column"):
        path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        text = repr(traj)
        assert len(text.splitlines()) < 80
        assert "… 20 more" in text
        assert len(repr(traj.res).splitlines()) < 30
        assert len(repr(traj[0].res).splitlines()) == 22
        html = traj._repr_html_()
        assert "… 20 more" not in html  # it folds, and shows more
        assert len(html) < 100_000
        assert parse(html).tags.count("tr") < 300
        assert len(traj[0]._repr_html_()) < 100_000
        assert traj.res.g6.m0398[0] == 398.5  # one of the tail


def test_outlines_of_the_closed_and_the_damaged(traj: Trajectory) -> None:
    column, run, view = traj.res.rmse.mean, traj[1], traj[1:3]
    traj.close()
    for each in (traj, column, run, view):
        assert "closed" in repr(each)
        assert "closed" in parse(each._repr_html_()).text  # type: ignore[attr-defined]
    with h5py.File(traj.path, "a") as file:
        del file["results/rmse/mean"]
        del file["runs/status"]
    traj.refresh()
    assert lines(repr(traj))["mean"] == "float [K] cannot be read"
    assert "cannot be read" in traj._repr_html_()


def test_an_outline_reads_no_run_folder(build_sweep: BuildSweep, tmp_path: Path) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, {"odd": [np.arange(1000.0), 1], "x": 1})
    builder.run(1, {"odd": [np.arange(1000.0), 2], "x": 1})
    alone = compile_trajectory(builder.path).rename(tmp_path / "alone.h5")
    with Trajectory.open(alone) as traj:
        for text in (repr(traj), repr(traj.res), repr(traj[0].res), traj[0]._repr_html_()):
            assert "cannot be read" not in text


def test_ranges_say_what_they_leave_out(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(6)])
    for i in range(6):
        data = {
            "some": float("nan") if i < 2 else float(i),
            "none": float("nan"),
            "utc": dt.datetime(2024, 1, 1 + i, 12, tzinfo=dt.UTC),
            "local": dt.datetime(2024, 1, 1 + i, 12),
            "frame": pd.DataFrame({"a": [i]}),
        }
        if i < 5:
            builder.run(i, data)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert "2, 3, 4, 2 NaN; 5 of 6 runs" in repr(traj.res)
        shown = {line.split()[0]: line for line in repr(traj.res).splitlines()[1:]}
        assert shown["none"].endswith("5 NaN; 5 of 6 runs")
        assert "2024-01-01 12:00:00+00:00 … 2024-01-05 12:00:00+00:00" in shown["utc"]
        assert "+00:00" not in shown["local"]
        assert repr(traj.res.frame) == "<CompositeColumn 'results/frame' frame (6,)>"
        assert traj.runs.start._repr_html_().count("+00:00, 1 NaT") == 1


def test_numbers_agree_with_their_words(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, {"x": 1.0}, series={"s": [0.5]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert ": 1 run (1 done)>" in repr(traj)
        assert ": 0 runs>" in repr(traj[:0])
        assert "0 of 1 run of" in repr(traj[:0])
        assert "1 observation in 1 run" in repr(traj.series)
        assert repr(traj.aggregate()).startswith("1 point, 1 run: mean")
        assert repr(traj[0].res).startswith("<results of run 0: 1 value>")
