"""Edits of runs at rest: what operations do to a record, what stays of what it was, and what a kill leaves."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition import Archive, RunRecord
from expedition.archive.edits import PREPARED, apply_operations, edit_run
from expedition.archive.operation_text import parse_operation
from expedition.archive.operations import Editable
from expedition.errors import DamagedError, ExperimentError
from expedition.recording.store import flatten, nest
from tests.archive.conftest import edit, fingerprint
from tests.durability.laboratory import Laboratory
from tests.killing import killed_before


@pytest.fixture
def run(root: Path) -> RunRecord:
    """One run with everything in it."""
    return Archive(root).run("kind=a-alpha=0.1")


def do(record: RunRecord, *operations: str, annotated: tuple[str, ...] = ()) -> list[str]:
    """Edit a run; return what was changed."""
    found = edit_run(record, [parse_operation(text) for text in operations], annotated)
    assert not found.lacking, found.lacking
    return [str(change) for change in found.changes]


def again(record: RunRecord) -> RunRecord:
    return RunRecord(record.path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "character 1: it is empty"),
        ("sett params.x=1", "character 1: there is no 'sett' (did you mean 'set'?)"),
        ("  drpo data.x", "character 3: there is no 'drpo'"),
        ("set", "character 4: set needs NAME=VALUE"),
        ("set params.x", "character 13: there is no '='"),
        ("set x=1", "character 5: 'x' is neither params nor data; write params.x or data.x"),
        ("set parms.x=1", "character 5: 'parms' is neither params nor data (did you mean 'params'"),
        ("set params.=1", "character 11: a name is missing"),
        ("set data.a..b=1", "character 9: a name is missing"),
        ("set data._x=1", "'_x' cannot be the name of a stored value"),
        ("set data.a={b: 1}", "a mapping is a group"),
        ("rename params.x", "character 16: there is no '='"),
        ("rename params.x=", "character 17: the new name is missing"),
        ("rename params.x=data.y", "character 17: what is in params cannot be moved to data"),
        ("rename params.x=a-b", "character 17: 'a-b' cannot be the name of a parameter"),
        ("rename params.x=rep", "'rep' cannot be the name of a parameter"),
        ("rename data.a=data.a.b", "character 15: a.b lies inside of a"),
        ("drop", "drop needs a name"),
        ("drop series.loss", "'series' is neither params nor data"),
        ("tag a b", "character 6: a tag takes one tag"),
        ('note "x', 'character 6: the quote " has no end'),
        ('tag "a" b', "or something stands behind it"),
        ('tag " "', "tag needs a tag"),
    ],
)
def test_bad_operations_are_refused_with_their_position(text: str, said: str) -> None:
    with pytest.raises(ExperimentError) as refusal:
        parse_operation(text)
    assert said in str(refusal.value)


def test_values_are_typed_by_the_recorded_type(run: RunRecord) -> None:
    assert do(
        run, "set params.alpha=2", "set params.SIZE=7", "set params.RATES=[1, 2.5]", "set params.kind=3"
    )
    params = again(run).params
    assert params == {"alpha": 2.0, "SIZE": 7, "RATES": [1.0, 2.5], "kind": "3"}
    assert [type(params[name]) for name in ("alpha", "SIZE", "kind")] == [float, int, str]
    assert {type(rate) for rate in params["RATES"]} == {float}
    for name in params:
        assert again(run).meta["parameters"][name]["origin"] == "edit"


@pytest.mark.parametrize("operation", ["set params.SIZE=2.5", "set params.alpha=many", "set params.RATES=1"])
def test_a_value_of_another_type_is_refused(run: RunRecord, operation: str) -> None:
    before = fingerprint(run.path)
    with pytest.raises(ExperimentError, match=r"exp_all: parameter \w+ must be"):
        do(run, operation, annotated=("SIZE", "alpha", "RATES"))
    assert fingerprint(run.path) == before


def test_a_type_that_is_not_annotated_does_not_bind(run: RunRecord) -> None:
    do(run, "set params.SIZE=2.5")
    assert again(run).params["SIZE"] == 2.5


def test_types_of_the_users_own_cannot_be_set(run: RunRecord) -> None:
    about = run.meta["parameters"]
    for kind in ("Colour", "list[Colour]", "__import__('os').getcwd()", "(" * 400):
        edit(run.path / "experiment_meta.json", parameters={**about, "SIZE": {"value": 1, "type": kind}})
        with pytest.raises(ExperimentError, match="which no text can say"):
            do(again(run), "set params.SIZE=1")


def test_a_secret_cannot_be_set(run: RunRecord) -> None:
    about = {**run.meta["parameters"], "KEY": {"value": "***", "type": "Secret[str]"}}
    edit(run.path / "experiment_meta.json", parameters=about)
    with pytest.raises(ExperimentError, match="KEY of exp_all is a secret"):
        do(again(run), "set params.KEY=hunter2")
    assert "hunter2" not in (run.path / "experiment_meta.json").read_text()
    do(again(run), "rename params.KEY=TOKEN")
    assert again(run).params["TOKEN"] == "***"


def test_stored_values(run: RunRecord) -> None:
    before = run.flat_data
    changes = do(
        run,
        "set data.scores.mean=3",
        "set data.new.deep=[1, x, null]",
        "set data.text=a: b: c",
        "set data.quoted='3'",
        "rename data.scores.all=every",
        "drop data.kind",
    )
    assert changes[0] == "data.scores.mean: 0.05 → 3.0"
    assert changes[-1] == 'data.kind: "a" → (nothing)'
    data = again(run).flat_data
    assert data["scores/mean"] == 3.0
    assert type(data["scores/mean"]) is float
    assert data["new/deep"] == [1, "x", None]
    assert (data["text"], data["quoted"]) == ("a: b: c", "3")
    assert data["every"] == before["scores/all"]
    assert data.keys().isdisjoint({"kind", "scores/all"})
    assert (data["array"] == before["array"]).all()
    assert data["point"] == before["point"]


def test_groups_are_dropped_and_renamed_as_a_whole(run: RunRecord) -> None:
    do(run, "rename data.scores=rmse.of.all")
    record = again(run)
    assert record.data["rmse"]["of"]["all"] == {"mean": 0.05, "all": [0.1, None]}
    assert record.annotations["rmse/of/all/mean"] == {"comment": "mean score", "unit": "m"}
    assert "scores/mean" not in record.annotations
    do(record, "drop data.rmse")
    assert "rmse" not in again(run).data


def test_files_that_nothing_refers_to_any_more_stay(run: RunRecord) -> None:
    files = sorted((run.path / "data").rglob("*"))
    do(run, "drop data.array")
    assert "array" not in again(run).data
    assert sorted((run.path / "data").rglob("*")) == files
    assert again(run).series["field"].value.shape == (4, 200)


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("drop data.nothing", "it has stored nothing under nothing"),
        ("drop data.aray", "it has stored nothing under aray (did you mean 'array'?)"),
        ("rename params.alhpa=x", "it has no parameter alhpa (did you mean 'alpha'?)"),
        ("rename params.alpha=SIZE", "it has a parameter SIZE already"),
        ("rename data.array=kind", "it has stored something under kind already"),
        ("rename data.array=kind.x", "kind would be a value and a group"),
        ("set data.scores=1", "scores is a group"),
        ("set data.kind.x=1", "kind would be a value and a group"),
    ],
)
def test_what_cannot_be_done_to_a_run_is_told(run: RunRecord, operation: str, said: str) -> None:
    before = fingerprint(run.path)
    found = edit_run(run, [parse_operation(operation)])
    assert not found.changes
    (problem,) = found.lacking
    assert problem.startswith(f"{operation}: ")
    assert said in problem
    assert fingerprint(run.path) == before


def test_what_changes_nothing_writes_nothing(run: RunRecord) -> None:
    before = fingerprint(run.path)
    operations = [
        "set params.alpha=0.1",
        "tag paper",
        "untag nobody",
        "set data.kind=a",
        "rename data.kind=kind",
    ]
    found = edit_run(run, [parse_operation(text) for text in operations])
    assert found.unchanged == operations
    assert not found.changes
    assert not found.lacking
    assert fingerprint(run.path) == before


def test_the_history_has_what_was(run: RunRecord) -> None:
    meta, data = run.meta, run.tagged_data
    first = ["set params.alpha=5", "rename params.kind=sort", "drop data.array"]
    do(run, *first)
    do(again(run), "untag paper", 'note "wrong α"', "set data.array=gone")
    now = again(run)
    assert now.key == run.key
    assert now.tags == ["cli", "kind-a"]
    assert now.notes == [*run.notes, "wrong α"]
    assert [e["operation"] for e in now.edits] == [
        *first,
        "untag paper",
        'note "wrong α"',
        "set data.array=gone",
    ]
    assert sorted(e["time"] for e in now.edits) == [e["time"] for e in now.edits]
    # Undone from the last to the first, the edits lead back to what the run recorded.
    state: dict[str, Any] = {f"params/{name}": about for name, about in now.meta["parameters"].items()}
    state |= {f"data/{path}": value for path, value in now.tagged_data.items()}
    state |= {"tags": now.tags, "notes": now.notes}
    for one in reversed(now.edits):
        for path, value in one["after"].items():
            assert state.pop(path) == value
        state |= one["before"]
    assert {p[7:]: v for p, v in state.items() if p.startswith("params/")} == meta["parameters"]
    assert {p[5:]: v for p, v in state.items() if p.startswith("data/")} == data
    assert (state["tags"], state["notes"]) == (meta["tags"], meta["notes"])


DYING = """
    import os
    import numpy as np
    from expedition import experiment

    @experiment(tags=["paper"])
    def exp_dies(e, x: int = 1):
        e["a"] = x
        e["array"] = np.arange(400)
        e.track("loss", 0.5)
        e.derived("twice", 2)
        e.annotate("a", "what", unit="m")
        e.tag("mine")
        e.note("dying")
        e.commit("good.txt", "text")
        file = e.open("open.txt", "w")
        file.write("half")
        file.flush()
        os._exit(1)
"""


def test_a_run_that_died_gets_its_end_first(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("exp_dies.py", DYING)
    lab.run()
    (record,) = lab.archive.runs()
    assert record.status == "crashed"
    do(record, "set data.a=2")
    now = again(record)
    assert (now.status, now.meta["status"]) == ("crashed", "crashed")
    assert now.flat_data["a"] == 2
    assert now.flat_data["array"].tolist() == list(range(400))
    assert (now.tags, now.notes, now.derived) == (["paper", "mine"], ["dying"], {"twice": 2})
    assert now.annotations == {"a": {"comment": "what", "unit": "m"}}
    assert now.series["loss"].value.tolist() == [0.5]
    assert [entry["name"] for entry in now.artifact_list] == ["good.txt", "open.txt"]
    assert [entry["size"] for entry in now.artifact_list] == [4, 4]
    assert [e["operation"] for e in now.edits] == ["complete", "set data.a=2"]
    assert now.edits[0]["before"] == {"status": "running"}
    do(now, "drop data.a", "drop data.array")
    assert again(record).data == {}  # and not what the journal has
    assert [e["operation"] for e in again(record).edits].count("complete") == 1


def test_a_run_whose_end_found_no_room_gets_it_first(run: RunRecord) -> None:
    """Its meta file has problems, and its data file is missing: the journal knows."""
    outcome = {**run.meta["outcome"], "problems": ["OSError: no space left"]}
    edit(run.path / "experiment_meta.json", outcome=outcome, series=None, artifacts=None)
    (run.path / "experiment_data.json").unlink()
    do(again(run), "set data.kind=b")
    now = again(run)
    assert now.flat_data["scores/mean"] == 0.05
    assert now.flat_data["kind"] == "b"
    assert now.meta["series"] == run.meta["series"]
    assert now.artifact_list == run.artifact_list
    assert now.tags == run.tags
    assert now.notes == run.notes
    assert now.meta["outcome"]["problems"] == ["OSError: no space left"]


@pytest.mark.parametrize("edits", [5, [5], [{"before": {}}], [{"before": {}, "after": []}]])
def test_a_history_that_is_none_makes_the_run_damaged(run: RunRecord, edits: object) -> None:
    edit(run.path / "experiment_meta.json", edits=edits)
    with pytest.raises(DamagedError):
        again(run)


KILLED = killed_before(
    "replace",
    code="""
    from expedition import RunRecord
    from expedition.archive.edits import edit_run
    from expedition.archive.operation_text import parse_operation

    edit_run(RunRecord(sys.argv[1]), [parse_operation(text) for text in sys.argv[2:]])
    """,
)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_kill_leaves_the_run_as_it_was_or_as_it_is_to_be(run: RunRecord, tmp_path: Path, step: int) -> None:
    """The steps are: the prepared meta file, the data file, the meta file; before the fourth the edit is done."""
    old, wanted = again(run), tmp_path / "wanted"
    assert "array" in old.tagged_data
    shutil.copytree(run.path, wanted)
    operations = ["rename data.kind=sort", "drop data.array", "tag edited"]
    do(RunRecord(wanted), *operations)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, script, str(step), run.path, *operations], check=False)
    assert done.returncode == (-signal.SIGKILL if step < 4 else 0)
    assert (run.path / PREPARED).exists() == (step in (2, 3))
    assert again(run).status == "done"
    assert again(run).params == old.params
    # The next edit begins from one or the other, with a history that tells it.
    do(again(run), 'note "later"')
    now = again(run)
    assert not (run.path / PREPARED).exists()
    if step <= 2:
        assert now.tagged_data == old.tagged_data
        assert [e["operation"] for e in now.edits] == ['note "later"']
        do(now, *operations)
        now = again(run)
    assert now.tagged_data == RunRecord(wanted).tagged_data
    assert now.tags == [*old.tags, "edited"]
    assert {e["operation"] for e in now.edits} == {*operations, 'note "later"'}
    dropped = [e["before"] for e in now.edits if e["operation"] == "drop data.array"]
    assert dropped == [{"data/array": old.tagged_data["array"]}]


def test_the_files_stay_what_the_format_says(run: RunRecord) -> None:
    do(run, "set data.kind=b", "set params.alpha=3")
    meta = json.loads((run.path / "experiment_meta.json").read_bytes())
    assert list(meta)[:4] == ["format", "format_version", "id", "index"]
    assert list(meta)[-1] == "edits"
    assert meta["format"] == "expedition-run"
    assert json.loads((run.path / "experiment_data.json").read_bytes())["kind"] == "b"
    assert not [path.name for path in run.path.iterdir() if ".tmp-" in path.name]


NAMES = st.sampled_from(["a", "b", "a.b", "a.c", "b.c.d", "a.b.c", "lr", "x"])
OPERATIONS = st.one_of(
    st.builds("set params.{}={}".format, NAMES, st.integers(0, 2)),
    st.builds("set data.{}={}".format, NAMES, st.sampled_from(["0", "1.5", "text", "[1, 2]", "null"])),
    st.builds("rename params.{}={}".format, NAMES, NAMES),
    st.builds("rename data.{}={}".format, NAMES, NAMES),
    st.builds("drop {}.{}".format, st.sampled_from(["data", "params"]), NAMES),
    st.builds("{} {}".format, st.sampled_from(["tag", "untag", "note"]), st.sampled_from(["p", "q"])),
)


@given(st.lists(OPERATIONS, max_size=12))
def test_any_edits_keep_a_record_whole_and_can_be_undone(texts: list[str]) -> None:
    def paths() -> dict[str, Any]:
        found = {f"params/{name}": about for name, about in record.parameters.items()}
        found |= {f"data/{path}": value for path, value in record.data.items()}
        found |= {f"annotations/{name}": note for name, note in record.annotations.items()}
        return found | {"tags": list(record.tags), "notes": list(record.notes)}

    operations = []
    for text in texts:
        with contextlib.suppress(ExperimentError):  # such as a name inside of the one that is renamed
            operations.append(parse_operation(text))
    record = Editable(
        "exp",
        {"x": {"value": 1, "type": "int"}, "lr": {"value": 0.5}},
        {"a/b": 1, "a/c": {}, "b": "text"},
        ["p"],
        [],
        {"a/b": {"unit": "m"}, "x": {"comment": "how many"}},
    )
    before = paths()
    found = apply_operations(record, operations)
    assert dict(flatten(nest(record.data))) == record.data  # no value is a group as well
    assert len(found.changes) + len(found.unchanged) + len(found.lacking) == len(operations)
    state = paths()
    for change in reversed(found.changes):
        for path, value in change.after.items():
            assert state.pop(path) == value
        state |= change.before
    assert state == before
