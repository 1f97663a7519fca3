"""What a run may be called: folders, ids, keys, in archives where several runs have similar names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from expedition import Archive
from expedition.errors import AmbiguousRunError, RecordNotFoundError
from tests.durability.laboratory import Laboratory

VALUES = [
    "a\\b",
    "c/d",
    "e/",
    "äö",
    "u\u0301",
    "x y",
    "a]b",
    "[z]",
    "0001-x",
    "A",
    "a",
    "t\tb",
    "*",
    "",
    "🙂" * 40,
]
NAMED = f"""
from expedition import experiment

@experiment.parametrize("p", {VALUES!r})
def exp_named(e, p: str = ""):
    e["µ"] = p

@experiment.after_sweep
def end(traj, e):
    e["runs"] = len(traj)
"""
TWIN = """
from expedition import experiment

@experiment.parametrize("p", ["a", "only here"])
def exp_twin(e, p: str = ""):
    e["p"] = p

@experiment
def exp_lonely(e): pass
"""


@pytest.fixture(scope="module")
def names(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Two sweeps of one experiment, and another experiment with a run of the same id; nobody may change it."""

    def make(path: Path) -> None:
        lab = Laboratory(path / "lab")
        lab.write("exp_named.py", NAMED)
        lab.write("sub/exp_twin.py", TWIN)
        lab.run().exits(0)
        lab.pytest("--experiments", "exp_named.py").exits(0)

    return made_once("names", make) / "lab" / "results"


def test_every_run_goes_by_each_of_its_names(names: Path) -> None:
    archive = Archive(names)
    rows = list(archive.rows())
    assert {row.params["p"] for row in rows if "p" in row.params} == {*VALUES, "only here"}
    latest = {row.key: row for row in rows}
    for row in rows:
        unique = [
            row.path,
            str(row.path),
            row.folder,
            f"{row.namespace}/{row.sweep}/{row.path.name}".rstrip("/"),
        ]
        if row.path != row.sweep_path:
            unique += [f"{row.sweep}/{row.path.name}", row.reference, f"{row.sweep}\\{row.path.name}"]
            for name in unique:
                assert archive.run(name).path == row.path, name
        for name in (row.key, row.key[:12], f"{row.experiment}[{row.id}]"):
            assert archive.run(name).path == latest[row.key].path, name
        if row.id != "p=a":
            assert archive.run(row.id).path == latest[row.key].path, row.id
    assert archive.run("exp_lonely").id == "exp_lonely"


def test_runs_of_different_experiments_are_not_confused(names: Path) -> None:
    with pytest.raises(AmbiguousRunError, match="means several runs") as caught:
        Archive(names).run("p=a")
    candidates = str(caught.value)
    assert "exp_named: " in candidates
    assert "exp_twin: " in candidates
    assert Archive(names).run("exp_twin[p=a]").experiment == "exp_twin"
    assert Archive(names / "sub").run("p=a").experiment == "exp_twin"
    for named in (
        candidates.split("several runs of ")[1]
        .split(": ", 1)[1]
        .removesuffix("; name one of these")
        .split(", ")
    ):
        assert Archive(names).run(named.partition(": ")[2]).id == "p=a"


def test_digits_of_a_key_that_several_runs_have(names: Path, tmp_path: Path) -> None:
    """Keys that begin alike are rare; made by hand, they are told apart."""
    shutil.copytree(names, tmp_path / "results")
    archive = Archive(tmp_path / "results")
    for which in ("exp_twin[p=only here]", "exp_lonely"):
        meta = archive.run(which).path / "experiment_meta.json"
        key = archive.run(which).key
        meta.write_text(meta.read_text(encoding="utf-8").replace(key, "abcdef12" + key[8:]), encoding="utf-8")
    with pytest.raises(AmbiguousRunError, match="exp_lonely"):
        archive.run("abcdef12")
    with pytest.raises(RecordNotFoundError):
        archive.run("abcde")


def test_a_summary(names: Path) -> None:
    sweep = Archive(names).run("exp_named[p=A]").sweep
    assert Archive(names).run(f"{sweep}/summary").data == {"runs": len(VALUES)}
    with pytest.raises(RecordNotFoundError, match="did you mean"):
        Archive(names).run(f"{sweep}/sumary")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("p=only her", "p=only here"),
        ("exp_nmaed[p=äö]", "exp_named[p=äö]"),
        ("exp_lonly", "exp_lonely"),
        ("p=a\\c", "p=a\\b"),
        ("p=E/", "p=e/"),
    ],
)
def test_near_matches(names: Path, wrong: str, near: str) -> None:
    with pytest.raises(RecordNotFoundError) as caught:
        Archive(names).run(wrong)
    assert "did you mean" in str(caught.value)
    assert near in str(caught.value).replace("\\\\", "\\")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "x" * 5_000, "a\0b", "\ud800", "p", "p=", "../results", "/etc/passwd", "*", "p=*x"],
)
def test_what_names_no_run(names: Path, name: str) -> None:
    with pytest.raises(RecordNotFoundError, match="no run") as caught:
        Archive(names).run(name)
    assert len(str(caught.value)) < 700
