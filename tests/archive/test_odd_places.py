"""Archives that stand in odd places are read there as anywhere, and reading leaves no trace in them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from expedition import Archive, Trajectory
from tests.archive.conftest import fingerprint

READER = '''
import json, os, sys

modules, places = set(sys.argv[1].split(",")), sys.argv[2:]

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pytest", "_pytest", "xdist", *modules}:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Forbidden())
import expedition.archive, numpy, pandas, scipy.sparse, h5py, pyarrow

def watch(event, arguments):
    """Nothing below the archive is written, and none of its code is opened, compiled or run."""
    if event == "open" and isinstance(arguments[0], str):
        path = os.path.realpath(arguments[0])
        if path.startswith(real + os.sep) or path == real:
            flags = arguments[2] or 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) or path.endswith((".py", ".pyc")):
                found.append(f"opened {path} {arguments[1:]}")
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.utime", "os.link", "os.symlink"):
        if any(isinstance(a, str) and os.path.realpath(a).startswith(real) for a in arguments):
            found.append(f"{event} {arguments}")
    if event == "sqlite3.connect" and b"mode=ro" not in os.fsencode(arguments[0]):
        found.append(f"{event} {arguments}")
    if event in ("subprocess.Popen", "os.system", "pickle.find_class", "marshal.loads"):
        if event != "marshal.loads":
            found.append(f"{event} {arguments}")
    if event in ("exec", "compile"):
        name = getattr(arguments[0], "co_filename", None) or arguments[1] if event == "compile" else (
            arguments[0].co_filename)
        if isinstance(name, str) and (name.startswith(real) or name.startswith(root)):
            found.append(f"{event} {name}")

found, root, real = [], "?", "?"
sys.addaudithook(watch)

from expedition import Archive, Trajectory

def whole(record):
    series = {name: (len(s.step), str(s.value.dtype)) for name, s in record.series.items()}
    return {
        "id": record.id, "status": record.status, "params": sorted(record.params), "data": sorted(record.flat_data),
        "series": series, "derived": sorted(record.derived), "annotations": record.annotations, "tags": record.tags,
        "notes": record.notes, "log": len(record.log), "error": record.error and record.error.type,
        "artifacts": {n: os.path.getsize(p) for n, p in record.artifacts.items()}, "edits": len(record.edits),
        "children": [whole(child) for child in record.children],
    }

def everything(place):
    archive = Archive(place)
    said = {"runs": [whole(record) for record in archive.runs()]}
    said["rows"] = [(row.status, row.id, row.size, row.files) for row in archive.rows()]
    said["done"] = [row.id for row in archive.rows("status == 'done' and duration > '0s' and started > '2020-01-01'")]
    said["table"] = len(archive.runs().table()) if said["runs"] else 0
    said["frame"] = archive.runs("index >= 0").to_pandas(["id", "status"]).shape
    said["summaries"] = [whole(record) for record in archive.summaries()]
    said["sweeps"] = [(len(sweep.entries), sorted(sweep.parameters)) for sweep in archive.sweeps()]
    said["damaged"] = [str(reason) for _, reason in archive.damaged()]
    for row in archive.rows():
        assert archive.run(row.path).key == row.key
    for folder in archive.sweep_folders():
        if os.path.exists(os.path.join(folder, "trajectory.h5")):
            with Trajectory.open(folder) as trajectory:
                said.setdefault("trajectories", []).append((len(trajectory), sorted(trajectory.to_pandas().columns)))
    return said

for place in places:
    root = os.path.abspath(place)
    real = os.path.realpath(root)
    said = everything(place)
    assert not found, found
    print(json.dumps(said, default=str))
'''


def modules_of(archive: Path) -> set[str]:
    """Names that the code of an archive would be imported by."""
    return {path.stem for path in archive.rglob("*.py")} | {"conftest", "helper"}


def read_each(places: Sequence[Path | str], names: set[str], cwd: Path, **how: Any) -> list[dict[str, Any]]:
    """Read all that there is, in a process that may neither write there nor run what it finds; say what was read."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", READER, ",".join(sorted(names)), *map(str, places)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        **how,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(places)
    return said


def read(place: Path, names: set[str], cwd: Path, **how: Any) -> dict[str, Any]:
    """Read one archive."""
    return read_each([place], names, cwd, **how)[0]


@pytest.fixture(scope="session")
def expected(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is read where the archive was made."""
    before = fingerprint(wide)
    said = read(wide, modules_of(wide), tmp_path_factory.mktemp("elsewhere"))
    assert fingerprint(wide) == before
    return said


def test_there_is_something_to_read(expected: dict[str, Any]) -> None:
    """Else the tests below would prove little."""
    assert {run["status"] for run in expected["runs"]} == {"done", "failed", "pruned", "skipped", "crashed"}
    assert len(expected["rows"]) == len(expected["runs"]) > 20
    assert any(run["children"] for run in expected["runs"])
    assert expected["summaries"]
    assert len(expected["trajectories"]) > 5
    assert not expected["damaged"]


ODD_NAMES = {
    "spaces": "my results (copy)",
    "unicode": "Ergebnisse äöü 漢字 🙂",
    "decomposed": "re\u0301sultats",
    "windows": "C:\\Users\\me\\results",
    "long": "r" * 200,
    "deep": "/".join(["d" * 60] * 12),
    "option": "--archive",
    "hidden": ".results",
    "glob": "[a-z]*?{x}",
    "percent": "100%20#?x=y&z",
    "quotes": 'it\'s "here"',
    "line": "two\nlines",
    "digits": "0001-x",
}


@pytest.fixture(scope="session")
def little(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the archive that is quick to copy and to read; nobody may change it."""
    place = tmp_path_factory.mktemp("little") / "results"
    (sweep, *_) = (path for path in Archive(wide).sweep_folders() if path.parent.name == "exp_values")
    dropped = [path.name for path in sweep.iterdir() if path.name[:4].isdigit() and path.name > "0002"]
    shutil.copytree(sweep, place / "exp_values" / sweep.name, ignore=lambda *_: dropped)
    shutil.copytree(wide / "exp_child", place / "exp_child")
    return place


def test_under_odd_names(little: Path, tmp_path: Path) -> None:
    places = [tmp_path / str(number) / name for number, name in enumerate(ODD_NAMES.values())]
    for place in places:
        shutil.copytree(little, place)
    before = [fingerprint(place) for place in places]
    plain, *others = read_each([little, *places], modules_of(little), tmp_path)
    assert len(plain["runs"]) == 4
    for name, said in zip(ODD_NAMES, others, strict=True):
        assert said == plain, name
    assert [fingerprint(place) for place in places] == before


def test_by_a_relative_path_and_under_a_link(little: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    shutil.copytree(little, tmp_path / "real" / "results")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "archive").symlink_to(tmp_path / "real" / "results", target_is_directory=True)
    before = fingerprint(tmp_path / "real")
    places = [
        "real/results",
        tmp_path / "link" / "results",
        tmp_path / "archive",
        "archive",
        "./link/../archive/.",
    ]
    plain, *others = read_each([little, *places], modules_of(little), tmp_path)
    assert others == [plain] * len(places)
    assert read(Path(), modules_of(little), tmp_path / "archive") == plain
    assert fingerprint(tmp_path / "real") == before


def test_whatever_the_index_is(little: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expedition.archive.index.SETTLING", 0)  # what was copied just now is kept, too
    places = [tmp_path / name for name in ("without", "with", "damaged", "empty")]
    for place in places:
        shutil.copytree(little, place)
        if place.name != "without":
            list(Archive(place).rows(keep_index=True))
    (tmp_path / "damaged" / ".expedition" / "index.sqlite").write_bytes(
        b"SQLite format 3\0" + b"\xff" * 5_000
    )
    (tmp_path / "empty" / ".expedition" / "index.sqlite").write_bytes(b"")
    assert (tmp_path / "with" / ".expedition" / "index.sqlite").stat().st_size > 4_000
    before = fingerprint(tmp_path)
    plain, *others = read_each(places, modules_of(little), tmp_path)
    assert others == [plain] * 3
    assert fingerprint(tmp_path) == before


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user of the machine may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def _take_write_permission(place: Path) -> None:
    for path in [*place.rglob("*"), place]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_without_permission_to_write(little: Path, public: Path) -> None:
    place = public / "results"
    shutil.copytree(little, place)
    _take_write_permission(place)
    before = fingerprint(place)
    plain, said = read_each([little, place], modules_of(little), public)
    assert said == plain
    assert fingerprint(place) == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become somebody else"
)
def test_as_somebody_else(little: Path, public: Path) -> None:
    place = public / "results"
    shutil.copytree(little, place)
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "env": {**os.environ, "HOME": str(public)}}
    try:
        probe = [sys.executable, "-c", "import expedition.archive, pandas, h5py"]
        subprocess.run(probe, cwd=public, capture_output=True, check=True, **nobody)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("another user cannot read this installation")
    for path in [*place.rglob("*"), place]:
        os.chown(path, 12_345, 12_345)
    assert read(place, modules_of(little), public, **nobody) == read(little, modules_of(little), public)


# -- parts ------------------------------------------------------------------------------------------------


def _sweeps(archive: Path) -> list[Path]:
    return [path for path in Archive(archive).sweep_folders() if path.name != "debug"]


def test_a_sweep_folder_alone(wide: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    runs = {json.dumps(run) for run in expected["runs"]}
    places = [tmp_path / f"copy {number}" for number in range(len(_sweeps(wide)))]
    for sweep, place in zip(_sweeps(wide), places, strict=True):
        shutil.copytree(sweep, place)
    before = fingerprint(tmp_path)
    for said in read_each(places, modules_of(wide), tmp_path):
        assert {json.dumps(run) for run in said["runs"]} <= runs
        assert len(said["sweeps"]) == 1
        assert len(said["rows"]) == len(said["runs"]) > 0
    assert fingerprint(tmp_path) == before


def test_a_run_folder_alone(wide: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    runs = {json.dumps(run) for run in expected["runs"]}
    rows = [row for row in Archive(wide).rows("experiment == 'exp_values'") if row.path != row.sweep_path]
    assert len(rows) > 10
    sources = [*(row.path for row in rows[::4]), next(wide.rglob("children/0000-exp_child"))]
    places = [tmp_path / f"run {number}" for number in range(len(sources))]
    for source, place in zip(sources, places, strict=True):
        shutil.copytree(source, place)
    before = fingerprint(tmp_path)
    *said, child = read_each(places, modules_of(wide), tmp_path)
    for one in said:
        assert [json.dumps(run) in runs for run in one["runs"]] == [True]
    assert len(child["runs"]) == 1
    assert fingerprint(tmp_path) == before


def test_a_namespace_alone_and_one_among_other_folders(
    wide: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(wide / "deep", tmp_path / "data" / "lab" / "deep")
    (tmp_path / "data" / "notes.txt").write_text("other things", encoding="utf-8")
    (tmp_path / "data" / "sweep.json").mkdir()
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    places = [wide / "deep", tmp_path / "data", tmp_path / "data" / "lab" / "deep"]
    inner, *others = (said["runs"] for said in read_each(places, modules_of(wide), tmp_path))
    assert others == [inner] * 2
    assert 8 < len(inner) < len(expected["runs"])
    assert {json.dumps(run) for run in inner} <= {json.dumps(run) for run in expected["runs"]}


# -- others at work ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(wide: Path, tmp_path: Path) -> Path:
    shutil.copytree(wide, tmp_path / "results")
    return tmp_path / "results"


WAYS: dict[str, Callable[[Archive], Iterator[Any]]] = {
    "rows": lambda archive: archive.rows(),
    "rows with the index": lambda archive: archive.rows(keep_index=True),
    "records": lambda archive: archive.runs(),
    "selected": lambda archive: archive.rows("status == 'done' or index >= 0"),
}


@pytest.mark.parametrize("way", WAYS)
def test_deleting_while_listing(copy: Path, way: str) -> None:
    whole = len(list(Archive(copy).rows()))
    reading = WAYS[way](Archive(copy))
    first = next(reading)
    for sweep in _sweeps(copy):
        if sweep not in (first.path, *first.path.parents):
            shutil.rmtree(sweep)
    left = [first, *reading]
    assert 0 < len(left) <= whole
    for one in left:
        with contextlib.suppress(Exception):  # a record whose folder is gone has lost its files, no more
            _ = one.params
    rest = list(Archive(copy).rows())
    assert {row.sweep for row in rest} <= {first.sweep, "debug"}


def test_a_run_that_goes_between_its_row_and_its_record(copy: Path) -> None:
    from expedition.errors import RecordNotFoundError

    rows = list(Archive(copy).rows("experiment == 'exp_values'"))
    shutil.rmtree(rows[0].path)
    with pytest.raises(RecordNotFoundError):
        rows[0].record()
    assert len(list(Archive(copy).rows("experiment == 'exp_values'"))) == len(rows) - 1


def test_links_lead_nowhere(copy: Path, tmp_path: Path) -> None:
    """A folder of runs that is a link is no part of the archive: a copy of it would not have it either."""
    whole = len(list(Archive(copy).rows()))
    (sweep, *_) = _sweeps(copy)
    shutil.move(sweep, tmp_path / "moved")
    sweep.symlink_to(tmp_path / "moved")
    assert len(list(Archive(copy).rows())) < whole
    assert len(list(Archive(sweep).rows())) == whole - len(list(Archive(copy).rows()))


def test_a_trajectory_alone(wide: Path, tmp_path: Path) -> None:
    source = next(wide.rglob("trajectory.h5"))
    shutil.copy(source, tmp_path / "é.h5")
    with Trajectory.open(tmp_path / "é.h5") as trajectory:
        assert len(trajectory) > 0
