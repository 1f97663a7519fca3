"""The index of an archive: the same rows with it and without it, whatever happens to it or to the runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition import Archive
from expedition.archive import index, packing
from expedition.archive.rows import RunRow, read_row
from expedition.recording import outcomes
from tests.archive.conftest import fingerprint
from tests.archive.making import Sweep, make_archive
from tests.plugin.conftest import Lab
from tests.plugin.conftest import lab as lab

SETTLING = 40_000_000
"""Nanoseconds after which a change counts as settled in these tests; clocks of file systems tick every 4 ms."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SETTLING", SETTLING)
    monkeypatch.setattr(index, "_WAIT", 0.05)
    monkeypatch.setattr(index, "_CHUNK", 4)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An archive of 18 runs whose files have settled."""
    make_archive(tmp_path / "results")
    settle()
    return tmp_path / "results"


def settle() -> None:
    """Wait until the next change has another time than the last."""
    time.sleep(1.5 * SETTLING / 1e9)


def keep(root: Path) -> list[RunRow]:
    """Read the rows as a report does."""
    return list(Archive(root).rows(keep_index=True))


def cold(root: Path) -> list[RunRow]:
    """Read the rows as if there were no index."""
    file = root / index.INDEX_FILE
    aside = file.with_suffix(".aside")
    if not file.exists():
        return list(Archive(root).rows())
    file.rename(aside)
    try:
        return list(Archive(root).rows())
    finally:
        aside.rename(file)


def kept(root: Path) -> int:
    """How many rows the index has; 0 without one."""
    file = root / index.INDEX_FILE
    if not file.exists():
        return 0
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("select count(*) from runs").fetchone()[0])
    finally:
        connection.close()


# -- rows with it and without it --------------------------------------------------------------------------


def test_rows_are_the_same_without_an_index_with_a_new_one_and_with_a_full_one(root: Path) -> None:
    without = cold(root)
    assert len(without) == 18
    assert {row.status for row in without} >= {"done", "failed", "crashed", "damaged", "skipped", "pruned"}
    assert keep(root) == without
    assert kept(root) == 16  # all but the two that are damaged
    assert keep(root) == without
    assert list(Archive(root).rows()) == without
    for one, other in zip(keep(root), without, strict=True):
        assert dict(one.parameters) == dict(other.parameters)
        assert list(one.stored) == list(other.stored)  # their order, too
        assert one.names == other.names


def test_rows_are_packed_in_the_order_of_their_attributes() -> None:
    """When this fails, an index that was written before means something else: count `index.VERSION` up."""
    names = [each.name for each in dataclasses.fields(RunRow)]
    assert names == [
        *("place", "sweep_path"),
        *packing.FIRST_FACTS,
        *("parameters", "stored"),
        *packing.LAST_FACTS,
        *("source", "among"),
    ]


def test_values_of_rows_are_those_of_the_records(root: Path) -> None:
    keep(root)
    for row in Archive(root).rows("status != 'damaged'"):
        record = row.record()
        assert row.params == record.params
        assert {name: row.value(f"data.{name.replace('/', '.')}") for name in row.stored} == {
            name: value for name, value in record.flat_data.items() if name in row.stored
        }
        assert row.status == record.status
    (long,) = Archive(root).rows("index == 11")
    assert set(long.left_out) == {"params/text", "data/long"}
    assert long.value("text") == "é" * 2500
    assert [
        row.index for row in Archive(root).rows("data.long == 'none' or data.lost.startswith('what')")
    ] == [10]


def test_a_select_says_the_same_with_an_index_and_without(root: Path) -> None:
    keep(root)
    for text in (
        "alpha < 0.3",
        "score > 4 and status == 'done'",
        "data.deep.x == 3",
        "other is None",
        "'paper' in tags",
    ):
        assert list(Archive(root).rows(text)) == [
            r for r in cold(root) if r in list(Archive(root).rows(text))
        ]
        assert list(Archive(root).rows(text)), text


CHANGES: tuple[Callable[[Path, random.Random], object], ...] = (
    lambda run, rng: (run / "experiment_data.json").write_text(json.dumps({"score": rng.random()})),
    lambda run, rng: (run / "experiment_data.json").unlink(missing_ok=True),
    lambda run, rng: _in_place(run / "experiment_meta.json", b'"x"', rng.choice([b'"y"', b'"z"'])),
    lambda run, rng: _replaced(run / "experiment_meta.json", b'"paper"', b'"chair"'),
    lambda run, rng: (run / "experiment_meta.json").write_bytes(b"{"),
    lambda run, rng: (run / "experiment_meta.json").unlink(missing_ok=True),
    lambda run, rng: shutil.rmtree(run),
    lambda run, rng: (run / f"artifact-{rng.randrange(99)}").write_bytes(bytes(rng.randrange(99))),
    lambda run, rng: run.rename(run.with_name(f"{run.name}{rng.randrange(9)}")),
    lambda run, rng: shutil.copytree(run, run.with_name(f"9{run.name}"), dirs_exist_ok=True),
)


def _in_place(file: Path, old: bytes, new: bytes) -> None:
    """Change a file without making a new one, and give it the time it had."""
    before = file.stat()
    with open(file, "r+b") as stream:
        content = stream.read().replace(old, new)
        stream.seek(0)
        stream.write(content)
        stream.truncate()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(file: Path, old: bytes, new: bytes) -> None:
    temporary = file.with_suffix(".tmp-1")
    temporary.write_bytes(file.read_bytes().replace(old, new))
    temporary.replace(file)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.integers(0, len(CHANGES) - 1), st.integers(0, 30), st.booleans()), max_size=6
    ),
    seed=st.integers(0, 1000),
)
def test_whatever_happens_to_runs_the_rows_are_those_of_their_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]], seed: int
) -> None:
    root = make_archive(tmp_path_factory.mktemp("property") / "results")
    rng = random.Random(seed)
    settle()
    keep(root)
    for change, which, wait in steps:
        runs = sorted(file.parent for file in root.rglob("experiment_meta.json"))
        run = runs[which % len(runs)]
        if run.parent.name != "deep" and not (run / "sweep.json").exists():
            with contextlib.suppress(FileNotFoundError):  # a change before took it away
                CHANGES[change](run, rng)
        if wait:
            settle()
        assert keep(root) == cold(root)
    assert list(Archive(root).rows()) == cold(root)


@pytest.mark.parametrize("place", ["root", "namespace", "sweep", "run"])
def test_a_part_of_an_archive_is_read_with_the_index_of_the_whole(root: Path, place: str) -> None:
    keep(root)
    part = {
        "root": root,
        "namespace": root / "exp_a",
        "sweep": root / "exp_a" / "2026-11-22T14-30-05Z-k3f9",
        "run": root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1",
    }[place]
    before = kept(root)
    rows = keep(part)
    assert {row.path for row in rows} <= {row.path for row in cold(root)}
    assert kept(root) == before  # of what is not in this part nothing is forgotten
    assert [path for path in root.rglob(".expedition") if path.parent != root] == []


def test_a_part_is_known_to_be_one_before_there_is_an_index(root: Path) -> None:
    (root.parent / ".expedition").mkdir()  # of another archive, around this one
    assert keep(root / "exp_a") == [row for row in cold(root) if row.namespace == "exp_a"]
    assert kept(root) == 14
    assert [*root.parent.rglob("index.sqlite")] == [root / index.INDEX_FILE]
    (root / ".gitignore").unlink()
    shutil.rmtree(root / ".expedition")
    shutil.rmtree(root.parent / ".expedition")
    keep(root)  # what a report is asked for counts as a root
    assert kept(root) == 16


@pytest.mark.parametrize("place", ["sweep", "run"])
def test_no_index_is_made_in_a_sweep_or_run_that_was_copied_out(
    root: Path, tmp_path: Path, place: str
) -> None:
    sweep = shutil.copytree(root / "exp_a" / "2026-11-22T14-30-05Z-k3f9", tmp_path / "copy")
    part = sweep if place == "sweep" else shutil.copytree(sweep / "0001-alpha=0.1", tmp_path / "run")
    before = fingerprint(part)
    assert keep(part)
    assert fingerprint(part) == before


def test_reading_without_keeping_writes_nothing(root: Path) -> None:
    before = fingerprint(root)
    list(Archive(root).rows("alpha < 1"))
    assert fingerprint(root) == before
    keep(root)
    before = fingerprint(root)
    (root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1" / "new").write_text("x")
    list(Archive(root).rows())
    assert fingerprint(root / ".expedition") == {
        name.partition("/")[2]: what for name, what in before.items() if name.startswith(".expedition/")
    }


def test_a_report_on_a_folder_without_runs_leaves_nothing_there(tmp_path: Path) -> None:
    assert keep(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_iteration_that_is_left_keeps_what_it_read(root: Path) -> None:
    rows = Archive(root).rows(keep_index=True)
    next(rows)
    rows.close()
    assert 0 < kept(root) < 16
    assert keep(root) == cold(root)


def test_runs_that_are_gone_are_forgotten(root: Path) -> None:
    keep(root)
    shutil.rmtree(root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "000")
    shutil.rmtree(root / "deep")
    keep(root)
    assert kept(root) == 13
    assert keep(root) == cold(root)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are any bytes on Linux only")
def test_names_that_are_no_text(root: Path) -> None:
    sweep = root / "exp_a" / "2026-11-22T14-30-05Z-k3f9"
    os.rename(os.fsencode(sweep / "0001-alpha=0.1"), os.fsencode(sweep) + b"/0001-\xff\xfe=\xe9")
    os.rename(os.fsencode(sweep), os.fsencode(sweep) + b"-\xff")
    settle()
    assert keep(root) == cold(root) == keep(root)
    assert kept(root) == 16


def test_a_warm_list_looks_at_three_files_of_a_run_and_reads_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [row for row in keep(root) if not row.problem]
    real, looks, reads = os.stat, [], []
    monkeypatch.setattr(index.os, "stat", lambda *a, **k: looks.append(a[0]) or real(*a, **k))
    monkeypatch.setattr(
        index, "read_row", lambda path, *a, **k: reads.append(path) or read_row(path, *a, **k)
    )
    assert [row for row in Archive(root).rows() if not row.problem] == whole
    assert {path.name[:4] for path in reads} == {"0014", "0015"}  # the damaged ones
    inside = [
        str(path) for path in looks if str(path).endswith(("_meta.json", "_data.json", "_journal.jsonl"))
    ]
    assert len(inside) <= 2 * 16 + 1 + 2 * 3 + len(whole)  # of a crashed run the journal, too


def test_a_select_decodes_nothing_but_what_it_asks_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(root)
    decoded: list[str] = []
    real = packing._decoded
    monkeypatch.setattr(packing, "_decoded", lambda text: decoded.append(text) or real(text))
    found = [row.index for row in Archive(root).rows("alpha == 0.3 and status != 'damaged'")]
    assert found == [3]
    assert not any("what a crashed run had stored" in str(text) for text in decoded)
    list(Archive(root).rows("data.lost == 'x'"))
    assert any("what a crashed run had stored" in str(text) for text in decoded)


# -- runs that change -------------------------------------------------------------------------------------


def test_a_change_in_place_is_seen_though_size_and_time_are_what_they_were(root: Path) -> None:
    run = root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1"
    keep(root)
    for label in (b'"y"', b'"z"'):
        _in_place(run / "experiment_meta.json", b'"x"', label)
        assert next(Archive(root).rows("index == 1")).value("label") == label.decode()[1]
        _in_place(run / "experiment_meta.json", label, b'"x"')
        settle()
        keep(root)


def test_a_run_that_has_just_changed_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SETTLING", 3600 * 10**9)
    keep(root)
    assert kept(root) == 0


def test_whole_seconds_as_times_of_files_hide_no_change(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system of that kind all changes of a second bear one time; only settling helps then."""
    real = os.stat

    class Coarse:
        def __init__(self, found: os.stat_result) -> None:
            self._found = found
            self.st_ino, self.st_size, self.st_mode = 1, found.st_size, found.st_mode
            self.st_mtime_ns = self.st_ctime_ns = found.st_mtime_ns // 10**9 * 10**9

        def __getattr__(self, name: str) -> object:
            return getattr(self._found, name)

    monkeypatch.setattr(index.os, "stat", lambda *a, **k: Coarse(real(*a, **k)))
    monkeypatch.setattr(index, "SETTLING", 2 * 10**9)
    run = root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1"
    for label in (b'"y"', b'"z"', b'"x"'):
        file = run / "experiment_meta.json"
        for old in (b'"x"', b'"y"', b'"z"'):
            file.write_bytes(file.read_bytes().replace(b'"value": ' + old, b'"value": ' + label))
        row = next(row for row in keep(root) if row.index == 1)
        assert row.value("label") == label.decode()[1]


def test_times_in_the_future_only_cost_time(root: Path) -> None:
    run = root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1"
    os.utime(run / "experiment_meta.json", (4e9, 4e9))
    settle()
    assert keep(root) == cold(root)
    _in_place(run / "experiment_meta.json", b'"x"', b'"y"')
    assert keep(root) == cold(root)


def test_a_run_ends_and_dies_before_the_eyes_of_the_index(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "results")
    sweep.run(0, outcomes.RUNNING)
    settle()
    assert [row.status for row in keep(tmp_path / "results")] == ["running"]
    sweep.close()  # no file of the run changes
    assert [row.status for row in keep(tmp_path / "results")] == ["crashed"]
    assert kept(tmp_path / "results") == 1
    assert keep(tmp_path / "results") == cold(tmp_path / "results")


def test_a_run_of_another_host_that_speaks_again_after_a_day_of_silence(tmp_path: Path) -> None:
    root = tmp_path / "results"
    sweep = Sweep(root)
    run = sweep.run(0, outcomes.RUNNING)
    sweep.close()
    meta = json.loads((run / "experiment_meta.json").read_bytes())
    meta["process"]["host"] = "elsewhere"
    (run / "experiment_meta.json").write_text(json.dumps(meta))
    (run / "experiment_out.log").write_text("working\n")
    for file in run.iterdir():
        os.utime(file, (1e9, 1e9))
    settle()
    assert [row.status for row in keep(root)] == ["crashed"]
    assert kept(root) == 1
    os.utime(run / "experiment_out.log")
    assert [row.status for row in keep(root)] == ["unknown"] == [row.status for row in cold(root)]


# -- what may become of the file --------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no data base", b"SQLite format 3\x00" + bytes(4000)])
def test_a_file_that_is_no_index_is_replaced(root: Path, content: bytes) -> None:
    keep(root)
    (root / index.INDEX_FILE).write_bytes(content)
    assert list(Archive(root).rows()) == cold(root) == keep(root)
    assert kept(root) == 16


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_index_never_shows_in_the_rows(root: Path, seed: int) -> None:
    whole = keep(root)
    file = root / index.INDEX_FILE
    rng = random.Random(seed)
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 30, 1000])):
        content[rng.randrange(20, len(content))] = rng.randrange(256)
    if seed % 4 == 3:
        del content[rng.randrange(len(content)) :]
    file.write_bytes(content)
    assert list(Archive(root).rows()) == whole
    assert keep(root) == whole
    assert keep(root) == whole
    assert list(Archive(root).rows()) == whole


def test_an_index_of_a_newer_version_is_left_alone(root: Path) -> None:
    keep(root)
    with sqlite3.connect(root / index.INDEX_FILE) as connection:
        connection.execute("pragma user_version = 999")
        connection.execute("update runs set content = 'of another kind'")
    connection.close()
    before = (root / index.INDEX_FILE).read_bytes()
    rows = keep(root)
    assert (root / index.INDEX_FILE).read_bytes() == before
    assert rows == cold(root)


def test_an_index_of_an_older_version_is_made_anew(root: Path) -> None:
    (root / ".expedition").mkdir()
    with sqlite3.connect(root / index.INDEX_FILE) as connection:
        connection.execute("create table runs (folder, name, stamp, settled, content)")
        connection.execute("pragma user_version = 1")
    connection.close()
    assert list(Archive(root).rows()) == cold(root) == keep(root)
    assert kept(root) == 16


@pytest.mark.parametrize(
    "statement",
    [
        "create trigger sly after insert on runs begin delete from runs; end",
        "create view more as select * from runs",
        "alter table runs add column more",
    ],
)
def test_an_index_that_somebody_altered_is_made_anew(root: Path, statement: str) -> None:
    keep(root)
    with sqlite3.connect(root / index.INDEX_FILE) as connection:
        connection.execute(statement)
    connection.close()
    before = (root / index.INDEX_FILE).read_bytes()
    assert list(Archive(root).rows()) == cold(root)
    assert (root / index.INDEX_FILE).read_bytes() == before
    assert keep(root) == cold(root)
    assert keep(root) == cold(root)
    connection = sqlite3.connect(root / index.INDEX_FILE)
    found = {name for (name,) in connection.execute("select name from sqlite_master where sql is not null")}
    connection.close()
    assert found == {"runs", "names"}
    assert kept(root) == 16


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_is_not_followed(root: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    foreign = tmp_path / "elsewhere" / "index.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table runs (mine)")
    connection.close()
    before = foreign.read_bytes()
    if link == "file":
        (root / ".expedition").mkdir()
        (root / index.INDEX_FILE).symlink_to(foreign)
    else:
        (root / ".expedition").symlink_to(foreign.parent)
    assert len(keep(root)) == 18
    assert foreign.read_bytes() == before
    assert [path.name for path in foreign.parent.iterdir()] == ["index.sqlite"]


@pytest.mark.parametrize("obstacle", ["a file for a folder", "a folder for a file"])
def test_where_no_index_can_be_rows_are_read_from_the_runs(root: Path, obstacle: str) -> None:
    if obstacle == "a file for a folder":
        (root / ".expedition").write_text("")
    else:
        (root / index.INDEX_FILE).mkdir(parents=True)
    assert keep(root) == keep(root)
    assert len(keep(root)) == 18


def test_the_index_is_deleted_while_it_is_read(root: Path) -> None:
    whole = keep(root)
    for keeping in (False, True):
        rows = Archive(root).rows(keep_index=keeping)
        found = [next(rows) for _ in range(5)]
        shutil.rmtree(root / ".expedition")
        found += rows
        assert found == whole
        assert keep(root) == whole


@pytest.mark.parametrize("lock", ["begin immediate", "begin exclusive"])
def test_an_index_that_another_process_has_locked(root: Path, lock: str) -> None:
    keep(root)
    (root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1" / "new").write_text("x")
    settle()
    whole = cold(root)
    with _locking(root / index.INDEX_FILE, lock):
        assert list(Archive(root).rows()) == whole
        assert keep(root) == whole
    assert keep(root) == whole


class _locking:  # noqa: N801
    """A process that holds a lock on a data base."""

    def __init__(self, file: Path, lock: str) -> None:
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "c.execute(sys.argv[2]); print('locked', flush=True); sys.stdin.read()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(file), lock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "locked\n"

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")


def test_between_rows_nothing_is_locked(root: Path) -> None:
    """Whoever holds on to an iterator, such as a report in a pager, keeps nobody waiting."""
    keep(root)
    (root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1" / "new").write_text("x")
    settle()
    rows = Archive(root).rows(keep_index=True)
    for _ in range(16):
        next(rows)
        with _locking(root / index.INDEX_FILE, "begin exclusive"):
            pass
    rows.close()
    assert sorted(path.name for path in (root / ".expedition").iterdir()) == ["index.sqlite"]


def test_the_journal_of_the_index_is_one_that_network_file_systems_bear(root: Path) -> None:
    keep(root)
    connection = sqlite3.connect(root / index.INDEX_FILE)
    assert connection.execute("pragma journal_mode").fetchone() == ("delete",)
    connection.close()


# -- other processes --------------------------------------------------------------------------------------


def _in_child(action: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> None:
    """Do something in a fork of this process; the test fails when it does."""

    def act() -> None:
        prepare()
        action()

    process = multiprocessing.get_context("fork").Process(target=act)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="the right to write is another matter there")
@pytest.mark.parametrize("made", [False, True])
def test_an_archive_that_may_not_be_written(made: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_archive(Path(folder) / "results")
        settle()
        whole = cold(root)
        if made:
            keep(root)
            (root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / "0001-alpha=0.1" / "new").write_text("x")
            whole = cold(root)
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = fingerprint(root)

        def read() -> None:
            assert keep(root) == list(Archive(root).rows()) == whole

        _in_child(read, lambda: os.setuid(65534) if os.geteuid() == 0 else None)
        assert fingerprint(root) == before
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of that kind there")
@pytest.mark.parametrize("room", [0, 5_000, 15_000])
def test_a_disk_without_room_for_the_index(root: Path, room: int) -> None:
    whole = cold(root)

    def read() -> None:
        assert keep(root) == whole
        assert keep(root) == whole

    _in_child(read, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
    assert list(Archive(root).rows()) == whole
    assert keep(root) == whole
    assert kept(root) == 16


def test_processes_that_are_killed_while_they_write(root: Path) -> None:
    whole = cold(root)
    code = """
    import sqlite3, sys
    from pathlib import Path
    from expedition import Archive
    from expedition.archive import index
    index.SETTLING, index._CHUNK, index._WAIT = 0, 2, 0.05
    root = Path(sys.argv[1])
    print("begun", flush=True)
    while True:
        try:
            with sqlite3.connect(root / index.INDEX_FILE) as connection:
                connection.execute("delete from runs")
            connection.close()
        except sqlite3.Error:
            pass
        list(Archive(root).rows(keep_index=True))
    """
    rng = random.Random(0)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(root)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert list(Archive(root).rows()) == whole
        assert keep(root) == whole
    assert kept(root) == 16


def test_many_processes_keep_the_index_while_runs_are_made_and_deleted(root: Path) -> None:
    """Six read and keep, one makes runs, one deletes runs. Nobody fails, and in the end all is right."""
    fork = multiprocessing.get_context("fork")
    over = fork.Event()

    def read() -> None:
        while not over.is_set():
            seen = [(row.path, row.index) for row in Archive(root).rows(keep_index=True)]
            assert len(set(seen)) == len(seen) >= 10

    def make() -> None:
        sweep = Sweep(root, "exp_c")
        for number in range(40):
            sweep.run(number, outcomes.RUNNING if number % 10 == 0 else outcomes.DONE)
        sweep.close()

    def delete() -> None:
        for number in range(5):
            run = root / "exp_a" / "2026-11-22T14-30-05Z-k3f9" / f"000{number}-alpha={number / 10}"
            shutil.rmtree(run)
            settle()

    readers = [fork.Process(target=read) for _ in range(6)]
    others = [fork.Process(target=make), fork.Process(target=delete)]
    for process in (*readers, *others):
        process.start()
    for process in others:
        process.join()
    over.set()
    for process in readers:
        process.join()
    assert [process.exitcode for process in (*readers, *others)] == [0] * 8
    settle()
    whole = cold(root)
    assert len(whole) == 18 - 5 + 40
    assert keep(root) == whole == list(Archive(root).rows())
    assert kept(root) == len(whole) - 2
    connection = sqlite3.connect(root / index.INDEX_FILE)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_report_keeps_the_index_and_does_not_need_it(lab: Lab) -> None:
    lab.experiment(
        """
        @experiment.parametrize("alpha", [1, 2, 3])
        def exp_a(e, alpha: int):
            e["x"] = alpha
            assert alpha < 3
        """
    )
    lab.run().exits(1)
    settle()
    first = lab.pytest("--archive-list").exits(0)
    file = lab.path / "results" / index.INDEX_FILE
    assert kept(lab.path / "results") == 3
    assert lab.pytest("--archive-list").exits(0).out == first.out
    file.unlink()
    assert lab.pytest("--archive-list").exits(0).out == first.out
    file.write_bytes(b"rubbish")
    assert lab.pytest("--archive-list").exits(0).out == first.out


@pytest.fixture(autouse=True)
def _no_children_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []
