"""Comments, units and links that are given to a trajectory afterwards: seen at once, and by every later file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from expedition.errors import ExpeditionError, NameNotFoundError, NoteError
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import BuildSweep, SweepBuilder


def built(build_sweep: BuildSweep) -> SweepBuilder:
    builder = build_sweep([{"alpha": 0.1 * i, "beta": i} for i in range(4)], {"size": 3})
    for index in range(3):
        data = {"rmse/mean": index + 0.5, "rmse/worst": index, "V": np.full(3, index), "note": "x"}
        builder.run(
            index,
            data,
            derived={"r0": 2.0},
            series={"fold/rmse": [1.0, 2.0]},
            annotations={"rmse/mean": {"comment": "of the runs", "unit": "cm"}, "V": {"unit": "V"}},
        )
    compile_trajectory(builder.path)
    return builder


@pytest.fixture
def sweep(build_sweep: BuildSweep) -> SweepBuilder:
    return built(build_sweep)


@pytest.fixture(params=["sweep", "alone"])
def path(request: pytest.FixtureRequest, sweep: SweepBuilder, tmp_path: Path) -> Path:
    """A trajectory in its sweep folder, and a copy that stands alone."""
    if request.param == "sweep":
        return sweep.path
    copy = tmp_path / "alone" / "trajectory.h5"
    copy.parent.mkdir()
    copy.write_bytes((sweep.path / "trajectory.h5").read_bytes())
    return copy


def reopened(path: Path) -> Trajectory:
    return Trajectory.open(path)


class TestAnnotations:
    def test_of_columns(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            part = traj.select([0, 1])
            traj.annotate("results/rmse/mean", comment="root mean square", unit="m")
            traj.annotate("alpha", unit="1/s")
            traj.annotate("series/fold/rmse", comment="per fold")
            traj.annotate("r0", comment="reproduction number")
            traj.annotate("V", comment="voltage")
            for each in (traj, reopened(path)):
                assert (each.res.rmse.mean.comment, each.res.rmse.mean.unit) == ("root mean square", "m")
                assert (each.par.alpha.unit, each.par.alpha.comment) == ("1/s", "about alpha")
                assert each.series["fold/rmse"].comment == "per fold"
                assert each.dpar.r0.comment == "reproduction number"
                assert (each.res.V.comment, each.res.V.unit) == ("voltage", "V")
                assert each.res.rmse.mean.values.tolist()[:3] == [0.5, 1.5, 2.5]
            assert len(part) == 2

    def test_of_groups(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            traj.annotate("results/rmse", comment="errors", unit="m")
            traj.annotate("results", comment="all of them")
            for each in (traj, reopened(path)):
                info = each.res.rmse.info()
                assert (info.comment, info.unit) == ("errors", "m")
                assert each.res.info().comment == "all of them"
                assert each.res.rmse.mean.comment == "of the runs"
                assert each.par.info().comment is None

    def test_are_added_to_and_taken_back(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            traj.annotate("rmse", comment="errors")
            traj.annotate("rmse", unit="m")
            traj.annotate("rmse/mean", comment="", unit="mm")
            assert (traj.res.rmse.info().comment, traj.res.rmse.info().unit) == ("errors", "m")
            traj.annotate("rmse", comment="")
            for each in (traj, reopened(path)):
                assert (each.res.rmse.info().comment, each.res.rmse.info().unit) == (None, "m")
                assert (each.res.rmse.mean.comment, each.res.rmse.mean.unit) == (None, "mm")

    def test_of_what_is_not_there(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            with pytest.raises(NameNotFoundError, match=r"no 'rsme/mean' \(did you mean 'results/rmse/mean'"):
                traj.annotate("rsme/mean", comment="x")
            for arguments in ({}, {"comment": 5}, {"comment": None}, {"unit": "a\0b"}, {"unit": "\ud800"}):
                with pytest.raises(NoteError, match="needs a text as comment=…, unit=… or both"):
                    traj.annotate("V", **arguments)  # type: ignore[arg-type]

    def test_odd_text(self, path: Path) -> None:
        text = "ä\n“\u200b” <b>" + "x" * 3000
        with Trajectory.open(path) as traj:
            traj.annotate("V", comment=text)
            assert reopened(path).res.V.comment == text

    def test_the_published_file_is_never_written_to(self, path: Path) -> None:
        file = path / "trajectory.h5" if path.is_dir() else path
        before, number = file.read_bytes(), file.stat().st_ino
        with open(file, "rb") as held, Trajectory.open(path) as traj:
            traj.annotate("V", comment="x")
            traj.link("voltage", "V")
            assert held.read() == before  # who had it open reads on
        if path.is_dir():
            assert file.stat().st_ino == number
            assert file.read_bytes() == before
        else:
            assert file.stat().st_ino != number
        assert [p.name for p in file.parent.glob("*.tmp-*")] == []

    def test_of_two_at_once(
        self, sweep: SweepBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from expedition.trajectory.file import noting

        alone = Path(shutil.copy(sweep.path / "trajectory.h5", tmp_path / "alone.h5"))
        take, calls = noting.take_notes, []

        def late(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == 1:
                code = f"from expedition import Trajectory; Trajectory.open({str(alone)!r}).annotate('V', comment='x')"
                subprocess.run([sys.executable, "-c", code], check=True)
            take(*arguments)

        monkeypatch.setattr(noting, "take_notes", late)
        with Trajectory.open(alone) as traj:
            traj.annotate("V", unit="mV")
            assert (traj.res.V.comment, traj.res.V.unit) == ("x", "mV")


class TestLinks:
    def test_to_a_column(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            traj.link("best", "results/rmse/mean")
            for each in (traj, reopened(path), traj.select([0, 2])):
                assert each.best.path == "results/rmse/mean"
                assert each["best"].values.tolist()[0] == 0.5
                assert each.get("best") is not None
                assert "best" in each
                assert "best" in dir(each)
                assert "best" in each._ipython_key_completions_()
            assert traj.links == reopened(path).links == {"best": "results/rmse/mean"}
            assert traj[1].best == 1.5
            assert traj.find("best > 1").tolist() == [1, 2]
            assert traj.collect("best")[:3].tolist() == [0.5, 1.5, 2.5]
            assert "best" in repr(traj)
            assert "results/rmse/mean" in repr(traj)

    def test_to_a_group(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            traj.link("errors", "rmse")
            for each in (traj, reopened(path)):
                assert list(each.errors) == ["mean", "worst"]
                assert each.errors.mean.values.tolist()[0] == 0.5
                assert each["errors/worst"].values.tolist()[2] == 2
                assert each["errors.worst"].path == "results/rmse/worst"
            assert traj[2].errors.to_dict() == {"mean": 2.5, "worst": 2}
            traj.link("worst_of_all", "errors/worst")
            assert traj.links["worst_of_all"] == "results/rmse/worst"

    def test_are_no_second_column(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            before = [leaf.path for leaf in traj.leaves()]
            columns = list(traj.to_pandas().columns)
            traj.link("best", "results/rmse/mean")
            traj.link("errors", "results/rmse")
            again = reopened(path)
            assert [leaf.path for leaf in again.leaves()] == before
            assert list(again.to_pandas().columns) == columns
            assert list(again.res) == ["rmse", "V", "note"]

    def test_are_removed(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            traj.link("best", "results/rmse/mean")
            traj.link("best", "rmse/mean")  # the same again
            with pytest.raises(NoteError, match=r"'best' is a link to 'results/rmse/mean'; remove it first"):
                traj.link("best", "results/rmse/worst")
            traj.unlink("best")
            assert traj.links == {}
            for each in (traj, reopened(path)):
                with pytest.raises(NameNotFoundError):
                    _ = each.best
            with pytest.raises(NameNotFoundError, match=r"no link 'best'; links: none"):
                traj.unlink("best")
            traj.link("best", "results/rmse/worst")
            with pytest.raises(NameNotFoundError, match=r"no link 'bst' \(did you mean 'best'\?\)"):
                traj.unlink("bst")
            assert reopened(path).best.path == "results/rmse/worst"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            *(
                (name, "must not hide")
                for name in ("find", "runs", "par", "results", "series", "links", "status")
            ),
            *((name, "must not hide what is there: ") for name in ("mean", "rmse", "alpha", "V", "duration")),
            *((name, "a link needs a name") for name in ("", "a b", "a/b", "_x", "1a", "class", 5)),
        ],
    )
    def test_never_hide_what_is_there(self, path: Path, name: Any, message: str) -> None:
        with Trajectory.open(path) as traj:
            with pytest.raises(NoteError, match=message):
                traj.link(name, "results/rmse/worst")
            assert traj.links == {}

    def test_ambiguous_names_are_there(self, build_sweep: BuildSweep) -> None:
        builder = build_sweep([{"a": 0}])
        builder.run(0, {"x/mean": 1.0, "y/mean": 2.0})
        compile_trajectory(builder.path)
        with Trajectory.open(builder.path) as traj, pytest.raises(NoteError, match="ambiguous"):
            traj.link("mean", "x/mean")

    def test_bad_targets(self, path: Path) -> None:
        with Trajectory.open(path) as traj:
            with pytest.raises(NameNotFoundError, match=r"did you mean 'results/rmse/mean'"):
                traj.link("best", "results/rmse/maen")
            assert traj.links == {}


class TestLaterFiles:
    def test_a_compilation_has_the_notes(self, sweep: SweepBuilder) -> None:
        with Trajectory.open(sweep.path) as traj:
            traj.annotate("rmse/mean", comment="mine", unit="m")
            traj.annotate("results/rmse", comment="errors")
            traj.annotate("V", unit="")
            traj.link("best", "rmse/mean")
        file = compile_trajectory(sweep.path)
        again = file.read_bytes()
        assert compile_trajectory(sweep.path).read_bytes() == again
        with h5py.File(file) as plain:
            assert dict(plain["results/rmse/mean"].attrs)["comment"] == "mine"
            assert plain["results/rmse/mean"].attrs["unit"] == "m"
            assert plain["annotations/results/rmse/mean"].attrs["comment"] == "mine"
            assert plain["results/rmse"].attrs["comment"] == "errors"
            assert plain["annotations/results/rmse"].attrs["comment"] == "errors"
            assert "unit" not in plain["results/V"].attrs
            document = json.loads(plain["_meta/schema"].asstr()[()])
            assert document["links"] == {"best": "results/rmse/mean"}
            assert document["groups"] == {"results/rmse": {"comment": "errors"}}
        (sweep.path / "notes.jsonl").unlink()  # it says all by itself
        with Trajectory.open(sweep.path) as traj:
            assert traj.links == {"best": "results/rmse/mean"}
            assert traj.best.comment == "mine"
            assert traj.res.rmse.info().comment == "errors"
            assert traj.res.V.unit is None

    def test_runs_that_come_later_do_not_take_them_back(self, sweep: SweepBuilder) -> None:
        with Trajectory.open(sweep.path) as traj:
            traj.annotate("rmse/mean", unit="m")
            traj.annotate("rmse/worst", comment="of all folds")
            traj.link("best", "rmse/mean")
        sweep.run(
            3, {"rmse/mean": 9.5, "late": 1}, annotations={"rmse/mean": {"unit": "km"}, "late": {"unit": "s"}}
        )
        compile_trajectory(sweep.path)
        with Trajectory.open(sweep.path) as traj:
            assert (traj.res.rmse.mean.unit, traj.res.rmse.worst.comment) == ("m", "of all folds")
            assert traj.res.late.unit == "s"
            assert traj.best.values.tolist() == [0.5, 1.5, 2.5, 9.5]

    def test_another_reader_sees_them_when_it_refreshes(self, sweep: SweepBuilder) -> None:
        with Trajectory.open(sweep.path) as one, Trajectory.open(sweep.path) as other:
            one.link("best", "rmse/mean")
            one.annotate("V", comment="voltage")
            assert other.res.V.comment is None
            assert other.refresh()
            assert not other.refresh()
            assert other.best.path == "results/rmse/mean"
            assert other.res.V.comment == "voltage"

    def test_a_target_that_is_gone_is_said(self, sweep: SweepBuilder) -> None:
        with Trajectory.open(sweep.path) as traj:
            traj.link("best", "rmse/mean")
            traj.annotate("rmse/mean", comment="x")
        for log in (sweep.path / "journal").glob("*.jsonl"):
            log.unlink()
        compile_trajectory(sweep.path)
        with Trajectory.open(sweep.path) as traj:
            message = r"has a link 'best' to 'results/rmse/mean', which is not there; remove it with unlink\('best'\)"
            with pytest.raises(NameNotFoundError, match=message):
                _ = traj.best
            assert traj.get("best") is None
            assert "best" in repr(traj)
            traj.unlink("best")
            assert traj.links == {}

    def test_what_was_there_first_keeps_its_name(self, sweep: SweepBuilder) -> None:
        """A column that comes later under the name of a link does not change what the name means."""
        with Trajectory.open(sweep.path) as traj:
            traj.link("best", "rmse/mean")
        sweep.run(3, {"best": 100.0})
        compile_trajectory(sweep.path)
        with Trajectory.open(sweep.path) as traj:
            assert traj.best.path == "results/rmse/mean"
            assert traj.find("best > 50").tolist() == []
            assert traj.res.best.values.tolist()[3] == 100.0

    def test_lines_that_are_no_notes_are_passed_over(self, sweep: SweepBuilder) -> None:
        with Trajectory.open(sweep.path) as traj:
            traj.link("best", "rmse/mean")
        from expedition.recording.journal import Journal

        journal = Journal(sweep.path / "notes.jsonl")
        for event in (
            {"e": "link", "name": 5, "target": "results/V"},
            {"e": "annotate", "path": ["results/V"], "comment": "x"},
            {"e": "annotate", "path": "results/V", "comment": {"a": 1}},
            {"e": "annotate", "path": "results/V", "comment": "a\0b"},
            {"e": "annotate", "path": "results/nothing", "comment": "x"},
            {"e": "paint", "path": "results/V"},
        ):
            journal.write(json.dumps(event))
        journal.close()
        with (sweep.path / "notes.jsonl").open("ab") as stream:
            stream.write(b'{"e":"unlink","name":"best"}\n{"torn')
        compile_trajectory(sweep.path)
        with Trajectory.open(sweep.path) as traj:
            assert traj.links == {"best": "results/rmse/mean"}
            assert traj.res.V.comment is None
            traj.annotate("V", comment="good")
            assert traj.res.V.comment == "good"

    def test_a_file_with_notes_is_one_for_every_reader(self, sweep: SweepBuilder, tmp_path: Path) -> None:
        xarray = pytest.importorskip("xarray")
        with Trajectory.open(sweep.path) as traj:
            traj.annotate("results/rmse", comment="errors")
            traj.annotate("rmse/mean", unit="mm")
            traj.link("best", "rmse")
        file = compile_trajectory(sweep.path)
        copy = tmp_path / "copy.h5"
        copy.write_bytes(file.read_bytes())
        with Trajectory.open(copy) as traj:
            traj.annotate("rmse/mean", comment="again")
            traj.annotate("parameters", comment="inputs")
            traj.link("other", "rmse/worst")
            assert traj.links == {"best": "results/rmse", "other": "results/rmse/worst"}
        for each in (file, copy):
            for engine in ("h5netcdf", "netcdf4"):
                with xarray.open_dataset(each, engine=engine) as table:
                    assert table["rmse.mean"].attrs["unit"] == "mm"
                    assert "best" not in table
                with xarray.open_dataset(each, engine=engine, group="results/rmse") as table:
                    assert table.attrs["comment"] == "errors"


def test_copies_and_merged_files_have_them(sweep: SweepBuilder, tmp_path: Path) -> None:
    from expedition.trajectory import merge

    with Trajectory.open(sweep.path) as traj:
        traj.annotate("rmse/mean", unit="mm")
        traj.annotate("rmse", comment="errors")
        traj.link("best", "rmse/mean")
        backup = traj.backup()  # beside the sweep's own file, and no more the trajectory of the sweep
        traj.compact(tmp_path / "small.h5")
        merge(traj, to=tmp_path / "merged.h5").close()
    for file in (backup, tmp_path / "small.h5", tmp_path / "merged.h5"):
        with Trajectory.open(file) as copy:
            assert (copy.best.path, copy.best.unit) == ("results/rmse/mean", "mm")
            assert copy.res.rmse.info().comment == "errors"
            copy.unlink("best")
            assert copy.links == {}
    with Trajectory.open(sweep.path) as traj:
        assert traj.links == {"best": "results/rmse/mean"}


def test_what_runs_said_never_keeps_a_file_from_being_written(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"a": 0}, {"a": 1}])
    builder.run(0, {"x": 1, "y": 2}, annotations={"x": {"comment": "a\0b", "unit": "\ud800"}})
    builder.run(1, {"x": 1, "y": 2}, annotations={"x": {"comment": "c\0"}, "y": {"comment": "\0"}})
    compile_trajectory(builder.path)
    with Trajectory.open(builder.path) as traj:
        assert (traj.res.x.comment, traj.res.x.unit, traj.res.y.comment) == ("c\ufffd", "?", "\ufffd")


def test_a_closed_trajectory_takes_none(path: Path) -> None:
    traj = Trajectory.open(path)
    traj.close()
    for call in (lambda: traj.annotate("V", unit="V"), lambda: traj.link("best", "V")):
        with pytest.raises(ValueError, match="is closed"):
            call()
    assert reopened(path).links == {}


def test_notes_are_refused_where_nothing_can_be_written(sweep: SweepBuilder, monkeypatch: Any) -> None:
    """An error of the system is one; nothing is half done."""
    with Trajectory.open(sweep.path) as traj:
        monkeypatch.setattr("os.open", _refuse)
        with pytest.raises(PermissionError):
            traj.link("best", "rmse/mean")
        assert traj.links == {}
    assert issubclass(NoteError, ExpeditionError)
    assert issubclass(NoteError, ValueError)


def _refuse(path: Any, *_: Any) -> int:
    raise PermissionError(13, "Permission denied", path)
