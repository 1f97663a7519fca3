"""`Run`: its parameters, its words, its outcome, and the files it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition import Run, RunRecord
from expedition.errors import UnstorableError
from expedition.recording.outcomes import FailRun, PruneRun, RunOutcome, SkipRun
from expedition.recording.output import Output
from expedition.recording.run import error_line
from tests.durability.laboratory import Laboratory

Read = Callable[[], RunRecord]


def test_parameters_are_read_only(run: Run, read: Read) -> None:
    assert dict(run.params) == {"alpha": 0.5, "MODE": "fast"}
    assert run.alpha == 0.5
    assert run.MODE == "fast"
    with pytest.raises(TypeError):
        run.params["alpha"] = 1  # type: ignore[index]
    with pytest.raises(AttributeError, match="parameters of a run are fixed: alpha"):
        run.alpha = 1
    with pytest.raises(AttributeError, match=r"takes no attributes: loss .*experiment\['loss'\]"):
        run.loss = 1
    with pytest.raises(AttributeError, match="did you mean 'alpha'"):
        run.alhpa  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'track'"):
        run.trak  # noqa: B018
    assert not hasattr(run, "_nothing")
    assert not hasattr(run, "NOTHING")
    assert "nothing" not in run
    assert run.params["alpha"] == read().params["alpha"] == 0.5


def test_attributes_of_a_run_win_over_parameters(tmp_path: Path) -> None:
    with Run.detached(tmp_path / "run", path="mine") as run:
        assert run.path == tmp_path / "run"
        assert run.params == {"path": "mine"}


def test_a_detached_run_is_a_run_folder(run: Run) -> None:
    run["x"] = 1
    run.close()
    assert {file.name for file in run.path.iterdir()} == {
        "experiment_meta.json",
        "experiment_data.json",
        "experiment_journal.jsonl",
    }
    record = RunRecord(run.path)
    assert (record.status, record.experiment, record.seed) == ("done", "detached", 7)
    assert record.duration is not None
    assert record.duration >= 0
    assert record.stopped is not None
    assert record.stopped >= record.started


def test_a_run_that_records_nothing_leaves_one_file(run: Run) -> None:
    run.close()
    assert [file.name for file in run.path.iterdir()] == ["experiment_meta.json"]
    record = RunRecord(run.path)
    assert (record.data, dict(record.series), record.artifacts, record.log) == ({}, {}, {}, "")


def test_the_end_comes_once(run: Run) -> None:
    run.finish("skipped", reason="no")
    before = (run.path / "experiment_meta.json").read_bytes()
    run.finish("failed", error=ValueError())
    run.close()
    assert (run.path / "experiment_meta.json").read_bytes() == before
    assert RunRecord(run.path).reason == "no"


def test_a_second_run_in_a_folder_sets_the_first_one_aside(tmp_path: Path) -> None:
    with Run.detached(tmp_path, seed=1) as first:
        first["a"] = 1
    with Run.detached(tmp_path) as second:
        assert RunRecord(tmp_path).status == "running"
        second["b"] = 2
    record = RunRecord(tmp_path)
    assert (record.status, record.attempt, record.data) == ("done", 1, {"b": 2})
    earlier = RunRecord(tmp_path / "attempts" / "0")
    assert (earlier.status, earlier.attempt, earlier.data, earlier.seed) == ("done", 0, {"a": 1}, 1)


def test_an_error_in_the_block_fails_the_run_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run.detached(tmp_path / "run") as run:  # noqa: PT012
        run["x"] = 1
        1 / 0  # noqa: B018
    record = RunRecord(tmp_path / "run")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type == "ZeroDivisionError"
    assert record.error.message == "division by zero"
    assert "1 / 0" in record.error.traceback
    assert record.data == {"x": 1}


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UnspeakableError(), "(its message cannot be shown: RuntimeError)"),
        (OSError("bad name \udcff"), "bad name \\udcff"),
        (ValueError("ä\n☃"), "ä\n☃"),
        (ExceptionGroup("several", [ValueError(1), TypeError(2)]), "several (2 sub-exceptions)"),
        (KeyError("k"), "'k'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_every_kind_can_be_recorded(run: Run, error: Exception, message: str) -> None:
    run.finish("failed", error=error)
    found = RunRecord(run.path).error
    assert found is not None
    assert found.type == type(error).__name__
    assert found.message == message
    found.message.encode()
    found.traceback.encode()


def test_a_summary_is_small(run: Run) -> None:
    run.finish("failed", error=ValueError("x" * 10_000))
    summary = run.summary()
    assert len(summary["error"]) == 200
    assert summary["status"] == "failed"
    assert error_line(None) is None
    assert error_line({"type": "E", "message": "m"}) == "E: m"


def test_what_ends_a_run_is_no_exception_that_user_code_catches(run: Run) -> None:
    for call, kind, reason in (
        (lambda: run.skip("a"), SkipRun, "a"),
        (lambda: run.fail("b"), FailRun, "b"),
        (run.prune, PruneRun, "pruned"),
        (lambda: run.prune("c"), PruneRun, "c"),
    ):
        with pytest.raises(kind) as caught:  # noqa: PT012
            try:
                call()
            except Exception:
                pytest.fail("it was caught")
        assert isinstance(caught.value, RunOutcome)
        assert caught.value.reason == reason


def test_tags_notes_annotations_and_derived_parameters(run: Run, journalled: Read, read: Read) -> None:
    run.tag("a", "b")
    run.tag("a", "ü \udcff")
    run.note("first")
    run.note("first")
    run.annotate("rmse", "root mean square error", unit="kg")
    run.annotate("rmse", unit="g")
    run.annotate("rmse")
    assert run.derived("n/total", 2**70) == 2**70
    big = run.derived("big", np.arange(1000.0))
    assert run.tags == ("a", "b", "ü \udcff")
    for record in (journalled(), read()):
        assert record.tags == ["a", "b", "ü \udcff"]
        assert record.notes == ["first", "first"]
        assert record.annotations == {"rmse": {"comment": "root mean square error", "unit": "g"}}
        assert record.derived["n/total"] == 2**70
        assert np.array_equal(record.derived["big"], big)


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.tag(3),
        lambda run: run.tag(""),
        lambda run: run.note(None),
        lambda run: run.annotate("", "text"),
        lambda run: run.annotate("a", 3),
        lambda run: run.derived("", 1),
        lambda run: run.derived("a//b", 1),
        lambda run: run.derived("a", object()),
    ],
    ids=["tag", "empty tag", "note", "annotate", "annotate text", "derived", "derived name", "derived value"],
)
def test_bad_words_are_refused(run: Run, read: Read, call: Callable[[Run], object]) -> None:
    with pytest.raises(UnstorableError):
        call(run)
    record = read()
    assert (record.tags, record.notes, record.annotations, record.derived) == ([], [], {}, {})
    assert record.status == "done"


class Listener:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def said(self, run: Run, message: str) -> None:
        self.heard.append(message)

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        self.heard.append((done, total))


def test_progress_yields_every_item_and_tells(tmp_path: Path, run: Run) -> None:
    listener = Listener()
    heard = Run(run._identity, None, listener)
    assert list(heard.progress(["a", "b"])) == ["a", "b"]
    assert list(heard.progress(iter("ab"))) == ["a", "b"]
    assert list(heard.progress(iter("ab"), total=2)) == ["a", "b"]
    assert listener.heard == [(1, 2), (2, 2), (1, None), (2, None), (1, 2), (2, 2)]
    assert list(run.progress([])) == []


def test_logging(tmp_path: Path, run: Run) -> None:
    listener = Listener()
    output = Output(str(run.path / "experiment_out.log"), descriptors=False, echo=False)
    spoken = Run(run._identity, None, listener, output)
    spoken.start()
    spoken.log("hello ☃ \udcff")
    spoken.log(3)
    spoken.log_pretty({"a": list(range(60))})
    spoken.log_params()
    spoken.close()
    lines = RunRecord(run.path).log.splitlines()
    assert lines[0].endswith("Z hello ☃ \\udcff")
    assert lines[1].endswith("Z 3")
    assert "59]}" in RunRecord(run.path).log
    assert "  alpha (float) = 0.5" in lines
    assert "  MODE (str) = 'fast'" in lines
    assert listener.heard[:2] == ["hello ☃ \udcff", "3"]
    assert len(listener.heard) == 4


def test_the_meta_file_is_strict_json_with_a_line_per_member(run: Run) -> None:
    run["x"] = float("nan")
    run.close()
    for name in ("experiment_meta.json", "experiment_data.json"):
        text = (run.path / name).read_text(encoding="utf-8")
        json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
        assert text.splitlines()[0] == "{"
        assert text.isascii()


def test_outcomes_in_fixtures_mean_the_same_as_in_the_function(lab: Laboratory) -> None:
    lab.write(
        "exp_outcomes.py",
        """
        import pytest
        from expedition import experiment

        @pytest.fixture
        def stage(e):
            if e.way == "skip":
                e.skip("skipped in a fixture")
            if e.way == "prune":
                e.prune("pruned in a fixture")
            if e.way == "fail":
                e.fail("failed in a fixture")
            yield 1
            if e.way == "teardown":
                raise ValueError("in the teardown")

        @experiment.parametrize("way", ["skip", "prune", "fail", "teardown", "ok"])
        def exp_outcomes(e, stage, way: str = ""):
            e["x"] = stage
        """,
    )
    lab.run("-p", "no:cacheprovider").exits(1)
    records = lab.records()
    found = {name.removeprefix("way="): (record.status, record.reason) for name, record in records.items()}
    assert found == {
        "skip": ("skipped", "skipped in a fixture"),
        "prune": ("pruned", "pruned in a fixture"),
        "fail": ("failed", "failed in a fixture"),
        "teardown": ("failed", ""),
        "ok": ("done", ""),
    }
    assert records["way=teardown"].data == {"x": 1}
    assert records["way=teardown"].error is not None
    assert records["way=fail"].error is not None
    assert records["way=fail"].error.message == "failed in a fixture"
