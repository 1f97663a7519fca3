"""A full disk, a file size limit, a folder that vanishes, a place that cannot be written to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, Run, RunRecord, Trajectory
from expedition.archive.commits import latest_commits
from expedition.archive.sweep import SweepFolder
from tests.durability.laboratory import Laboratory
from tests.thoroughness import further, further_sets


def test_a_full_disk_fails_the_run_that_meets_it_and_no_record_is_lost(
    lab: Laboratory, small_disk: Path
) -> None:
    lab.write(
        "exp_fill.py",
        """
        from pathlib import Path
        from expedition import experiment

        def fill(folder):
            with open(folder / "ballast", "ab", buffering=0) as file:
                for size in (65536, 4096, 512, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        pass

        @experiment.parametrize("way", ["good", "track", "data", "end", "after"])
        def exp_fill(e, way: str = ""):
            e["first"] = 1
            for i in range(20):
                e.track("early", i)
            if way == "track":
                fill(e.sweep_path)
                try:
                    for i in range(1_000_000):
                        e.track("filler", i)
                finally:
                    (e.sweep_path / "ballast").unlink()
            if way == "data":
                e["changing"] = changing = [0]
                changing.extend(range(500_000))
                fill(e.sweep_path)
                raise ValueError("an error of its own")
            if way == "end":
                fill(e.sweep_path)
                return
            e["last"] = 2
        """,
    )
    lab.write(
        "conftest.py",
        """
        from pathlib import Path

        def pytest_runtest_logstart(nodeid):
            for ballast in Path("ROOT").rglob("ballast"):
                ballast.unlink()
        """.replace("ROOT", str(small_disk)),
    )
    result = lab.run("--archive", small_disk / "archive").exits(1)
    assert "INTERNALERROR" not in result.text
    (sweep,) = (small_disk / "archive" / "exp_fill").iterdir()
    (sweep / "ballast").unlink(missing_ok=True)
    records = {record.id: record for record in map(RunRecord, sorted(sweep.glob("0*")))}
    good = records["way=good"]
    assert (good.status, good.data) == ("done", {"first": 1, "last": 2})
    full = records["way=track"]
    assert full.status == "failed"
    assert full.error is not None
    assert full.error.type == "OSError"
    assert "No space left" in full.error.message
    assert full.data == {"first": 1}
    filler = full.series["filler"].value.tolist()
    assert filler == list(range(len(filler)))
    own = records["way=data"]
    assert own.status == "failed"
    assert own.error is not None
    assert (own.error.type, own.error.message) == ("ValueError", "an error of its own")
    assert own.data["first"] == 1
    assert own.data["changing"][:1] == [0]
    end = records["way=end"]
    assert end.status == "failed"
    assert end.error is not None
    assert "No space left" in end.error.message
    assert end.data == {"first": 1}
    after = records["way=after"]
    assert (after.status, after.data) == ("done", {"first": 1, "last": 2})
    for record in records.values():
        assert record.series["early"].value.tolist() == list(range(20))


def test_a_run_that_has_no_room_to_begin_has_failed_and_is_in_no_list(
    lab: Laboratory, small_disk: Path
) -> None:
    lab.write(
        "exp_room.py",
        """
        from expedition import experiment

        @experiment.parametrize("x", [0, 1, 2])
        def exp_room(e, x: int = 0):
            e["y"] = x
        """,
    )
    lab.write(
        "conftest.py",
        """
        import os
        from pathlib import Path

        def pytest_runtest_logstart(nodeid):
            ballast = Path("ROOT/ballast")
            ballast.unlink(missing_ok=True)
            if "x=1" not in nodeid or "FULL" not in os.environ:
                return
            with open(ballast, "ab", buffering=0) as file:
                for size in (65536, 4096, 512, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        pass
        """.replace("ROOT", str(small_disk)),
    )
    archive = small_disk / "archive"
    assert "INTERNALERROR" not in lab.run("--archive", archive, FULL="1").exits(1).text
    (sweep,) = (archive / "exp_room").iterdir()
    assert {record.id: record.status for record in Archive(archive).runs()} == {"x=0": "done", "x=2": "done"}
    commits = {line["index"]: line for line in latest_commits(SweepFolder.open(sweep))}
    assert {index: line["status"] for index, line in commits.items()} == {0: "done", 1: "failed", 2: "done"}
    assert "No space left" in commits[1]["error"]
    with Trajectory.open(sweep) as trajectory:
        assert trajectory.runs.status[:].tolist() == ["done", "failed", "done"]
    lab.run("--archive", archive, "--resume").exits(0)
    with Trajectory.open(sweep) as trajectory:
        assert trajectory.runs.status[:].tolist() == ["done"] * 3
    assert [line["status"] for line in latest_commits(SweepFolder.open(sweep))] == ["done"] * 3
    assert [record.data["y"] for record in Archive(archive).runs()] == [0, 1, 2]


def test_a_limit_of_file_sizes_fails_the_run_that_meets_it(lab: Laboratory) -> None:
    lab.write(
        "exp_limit.py",
        """
        import resource
        import numpy as np
        from expedition import experiment

        @experiment.parametrize("way", ["good", "array", "series", "log", "again"])
        def exp_limit(e, way: str = ""):
            e["first"] = 1
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
            try:
                if way == "array":
                    e["large"] = np.zeros(100_000)
                if way == "series":
                    e.track("a", np.full(1000, 1.0))
                    for i in range(100):
                        e.track("a", np.full(1000, 2.0))
                if way == "log":
                    print("x" * 1_000_000)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                if way == "series":
                    e.track("a", np.full(1000, 3.0))
            e["last"] = 2
        """,
    )
    lab.run().exits(1)
    records = lab.records()
    for way in ("good", "again"):
        assert records[f"way={way}"].data == {"first": 1, "last": 2}
        assert records[f"way={way}"].status == "done"
    for way in ("array", "series", "log"):
        record = records[f"way={way}"]
        assert record.status == "failed"
        assert record.error is not None
        assert record.error.type == "OSError"
        assert record.data == {"first": 1}
    rows = records["way=series"].series["a"].value
    assert rows[0].tolist() == [1.0] * 1000
    assert rows[-1].tolist() == [3.0] * 1000  # not where the refused one had begun
    assert all(np.array_equal(row, np.full(1000, 2.0)) for row in rows[1:-1])
    assert not list(lab.sweep().rglob("*.tmp-*"))


@pytest.mark.parametrize("place", ["below-a-file", "/proc/expedition"])
def test_an_archive_that_cannot_be_written_is_a_usage_error_before_anything_runs(
    lab: Laboratory, place: str
) -> None:
    lab.write("exp_any.py", "from expedition import experiment\n\n@experiment\ndef exp_any(e):\n    1 / 0\n")
    if place == "below-a-file":
        lab.write("file", "")
        place = str(lab.path / "file" / "archive")
    for arguments in ((), ("-n", 2)):
        result = lab.run("--archive", place, *arguments).exits(4)
        assert place.split("/archive")[0] in result.text
        assert "ZeroDivisionError" not in result.text
        assert "Traceback" not in result.text
    assert not (lab.path / "results").exists()


def test_a_run_whose_folder_is_removed_fails_and_the_others_go_on(lab: Laboratory) -> None:
    lab.write(
        "exp_gone.py",
        """
        import shutil
        from expedition import experiment

        @experiment.parametrize("x", [0, 1, 2, 3])
        def exp_gone(e, x: int = 0):
            e["x"] = x
            if x in (1, 2):
                shutil.rmtree(e.path)
            if x == 2:
                raise ValueError("mine")
        """,
    )
    result = lab.run().exits(1)
    assert "INTERNALERROR" not in result.text
    assert lab.statuses() == {"x=0": "done", "x=3": "done"}
    commits = lab.commits()
    assert {name: line["status"] for name, line in commits.items()} == {
        "x=0": "done",
        "x=1": "failed",
        "x=2": "failed",
        "x=3": "done",
    }
    assert commits["x=1"]["data"] == {"x": 1}
    assert "mine" in commits["x=2"]["error"]
    lab.run("--resume").exits(1)
    assert {name: line["attempt"] for name, line in lab.commits().items()} == {
        "x=0": 0,
        "x=1": 1,
        "x=2": 1,
        "x=3": 0,
    }


@pytest.mark.parametrize(
    ("what", "workers"), [("run", 2), ("sweep", 0), *further_sets(("run", 0), ("sweep", 2))]
)
def test_a_folder_that_is_removed_in_mid_run_ends_no_session(
    lab: Laboratory, what: str, workers: int
) -> None:
    lab.write(
        "exp_swept.py",
        """
        import os, shutil
        from expedition import experiment

        @experiment.parametrize("x", [0, 1, 2, 3])
        def exp_swept(e, x: int = 0):
            e["x"] = x
            if x == 1 and not os.path.exists(os.path.join(os.environ["SIDE"], "resumed")):
                shutil.rmtree(e.path if "WHAT" == "run" else e.sweep_path, ignore_errors=True)
        """.replace("WHAT", what),
    )
    result = lab.run(*(["-n", workers] if workers else [])).exits(1)
    assert "INTERNALERROR" not in result.text
    statuses = lab.statuses()
    assert statuses.get("x=1") != "done"
    if what == "run":
        assert statuses == {"x=0": "done", "x=2": "done", "x=3": "done"}
    (lab.side / "resumed").touch()
    lab.run("--resume").exits(0)
    assert lab.statuses() == {f"x={x}": "done" for x in range(4)}


@pytest.mark.parametrize("workers", [2, *further(0)])
def test_a_read_only_archive_is_read_and_refuses_to_be_written_to(
    lab: Laboratory, small_disk: Path, workers: int
) -> None:
    lab.write(
        "exp_sealed.py",
        """
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_sealed(e, x: int = 0):
            e["x"] = x
        """,
    )
    arguments = [f"--archive={small_disk / 'archive'}", *(["-n", workers] if workers else [])]
    lab.run(*arguments, "--where", "x == 0").exits(0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        refused = lab.run(*arguments).exits(4)
        assert "Traceback" not in refused.text
        listed = lab.pytest(
            "--archive-list", "--archive-format", "json", f"--archive={small_disk / 'archive'}"
        )
        assert [row["status"] for row in json.loads(listed.exits(0).text)] == ["done"]
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    lab.run(*arguments, "--resume").exits(0)


def test_an_end_that_finds_no_room_for_its_files_keeps_error_status_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.detached(tmp_path / "run")
    run["a/b"] = 1.5
    run.track("s", 1)
    run.annotate("a/b", unit="m")
    run.derived("d", 2)
    run.commit("x.txt", "text")

    def full(path: object, content: bytes, **_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("expedition.recording.run.replace_file", full)
    monkeypatch.setattr("expedition.recording.meta.replace_file", full)
    try:
        raise ValueError("the run's own error " + "\n".join(f"line {i}" for i in range(2000)))
    except ValueError as error:
        run.finish("failed", error=error)
    record = RunRecord(run.path)
    assert record.status in ("failed", "running")  # running: the disk's blocks are smaller than the message
    assert record.data == {"a": {"b": 1.5}}
    assert record.annotations == {"a/b": {"unit": "m"}}
    assert record.derived == {"d": 2}
    assert record.artifacts["x.txt"].read_text(encoding="utf-8") == "text"
    assert record.series["s"].value.tolist() == [1]
    json.loads((run.path / "experiment_meta.json").read_bytes())
