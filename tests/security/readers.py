"""Reads a hostile archive in every way there is, and watches what Python does meanwhile.

``python -m tests.security.readers`` takes an order on its standard input; see `main`. It works in a process of its own:
what must not happen is that the process dies, hangs, takes all memory, or is made to do something.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import re
import resource
import shutil
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from expedition import Archive, RunRecord
from expedition.archive.rows import RunRow
from expedition.cli.main import main as expedition
from expedition.errors import ExpeditionError
from tests.security.mutations import Mutation, mutate, mutate_zip
from tests.trajectory.reading import read_everything

MEMORY = 2 << 30
"""Bytes of data that the process may have: numpy, pandas, pyarrow and h5py, and not what a bad file claims."""

PATIENCE = 20.0
"""Seconds after which one way of reading counts as hanging: a hundred times what it takes."""

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\u2028\u2029\ud800-\udfff]"
)
"""What steers a terminal, or hides what it shows."""

REPORTS = (
    ("archive", "list"),
    ("archive", "list", "--format", "json"),
    ("archive", "list", "--format", "csv", "--columns", "id,status,error,tags,alpha,kind,data.scores.mean"),
    ("archive", "list", "--select", "status == 'done' and alpha < 1", "--sort", "-duration"),
    ("archive", "tail", "3", "--format", "markdown"),
    ("archive", "overview"),
    ("archive", "overview", "--format", "latex"),
    ("archive", "scan", "alpha"),
    ("archive", "scan", "status", "--format", "json"),
    ("archive", "repair", "--dry-run"),
    ("archive", "restore", "--all", "--dry-run"),
    ("archive", "purge", "--all", "--dry-run"),
    ("archive", "delete", "--all", "--dry-run"),
    ("archive", "modify", "set params.kind=b", "--all", "--dry-run"),
    ("archive", "export", "csv", "--all", "-o", "{out}/runs.csv"),
    ("archive", "export", "folder", "--all", "-o", "{out}/runs"),
    ("archive", "compress", "{out}/runs.zip", "--all"),
)
SHOWN = (("text",), ("json",), ("markdown",))


class Watch:
    """What Python says of its doings (`sys.addaudithook`), as far as it leads out of the archive or runs code of it."""

    def __init__(self, root: Path, allowed: Path) -> None:
        self.root, self.allowed = os.path.realpath(root), os.path.realpath(allowed)
        self.outside = os.path.join(os.path.dirname(self.root), "outside")
        self.found: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        try:
            self._judge(event, arguments)
        except Exception:
            self.found.append(traceback.format_exc())

    def _judge(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int):
                return
            place = os.path.abspath(os.fsdecode(path))
            writes = (
                any(letter in mode for letter in "wax+")
                if isinstance(mode, str)
                else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes and not self._may_write(place):
                self.found.append(f"opened {place} for writing")
            if place.startswith(self.outside):
                self.found.append(f"opened {place}")
        elif event in _WRITERS:
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike):
                    place = os.path.abspath(os.fsdecode(path))
                    if not self._may_write(place):
                        self.found.append(f"{event} {place}")
        elif event in _STARTERS:
            self.found.append(f"{event} {arguments!r:.200}")
        elif event in ("exec", "compile"):
            code = arguments[0] if event == "exec" else arguments[1]
            name = getattr(code, "co_filename", code)
            if isinstance(name, str | bytes) and os.fsdecode(name).startswith((self.root, self.outside)):
                self.found.append(f"{event} of code in {os.fsdecode(name)}")
        elif event == "import" and str(arguments[0]) in FORBIDDEN_IMPORTS:
            self.found.append(f"imported {arguments[0]}")

    def _may_write(self, place: str) -> bool:
        return place.startswith(self.allowed) or place == os.devnull


FORBIDDEN_IMPORTS = frozenset({"antigravity", "exp_all", "exp_child", "experiment_code", "owned"})
"""Modules that nothing but what an archive says would import."""
_WRITERS = frozenset(
    {
        "shutil.rmtree",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.mkdir",
        "os.chmod",
        "os.chown",
        "os.link",
        "os.symlink",
        "os.truncate",
    }
)
_STARTERS = frozenset(
    {
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "os.kill",
    }
    | {
        "socket.connect",
        "socket.bind",
        "urllib.Request",
        "webbrowser.open",
        "ctypes.dlopen",
        "pickle.find_class",
    }
)


class Reading:
    """One reading of an archive in every way; `problems` has whatever else came of it than errors of the package."""

    def __init__(self, root: Path, out: Path) -> None:
        self.root, self.out = root, out
        self.problems: list[str] = []

    def attempt(self, action: Callable[[], Any], what: str = "") -> Any:
        """Do something that may be refused by an error of the package."""
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            return action()
        except ExpeditionError as error:
            if not str(error).strip():
                self.problems.append(f"{what}: {type(error).__name__} says nothing")
        except (KeyboardInterrupt, SystemExit) as error:
            self.problems.append(f"{what}: {error!r}")
        except BaseException:
            lines = traceback.format_exc().splitlines()
            self.problems.append("\n".join([what, *lines[-14:]]))
        finally:
            faulthandler.cancel_dump_traceback_later()
        return None

    def everything(self) -> list[str]:
        """Read the archive as a program and as a shell would."""
        archive = self.attempt(lambda: Archive(self.root), "Archive")
        if archive is None:
            return self.problems
        rows = self.attempt(lambda: list(archive.rows()), "rows") or []
        for row in rows:
            for name in sorted(row.names):
                self.attempt(lambda row=row, name=name: _value(row, name), f"the value {name!r} of a row")  # type: ignore[misc]
        self.attempt(lambda: list(archive.damaged()), "damaged")
        self.attempt(lambda: archive.runs("status == 'done'").table(), "table")
        self.attempt(lambda: archive.runs().to_pandas(), "to_pandas")
        for summary in self.attempt(lambda: list(archive.summaries()), "summaries") or []:
            self.record(summary)
        for record in self.attempt(lambda: list(archive.runs()), "runs") or []:
            self.record(record)
        for sweep in self.attempt(lambda: list(archive.sweeps()), "sweeps") or []:
            for name in ("entries", "swept", "parameters", "constants"):
                self.attempt(lambda sweep=sweep, name=name: getattr(sweep, name), f"sweep.{name}")  # type: ignore[misc]
            if self.root.is_dir() and (sweep.path / "trajectory.h5").is_file():
                faulthandler.dump_traceback_later(3 * PATIENCE, exit=True)
                self.problems += read_everything(sweep.path / "trajectory.h5")
                faulthandler.cancel_dump_traceback_later()
        self.reports(rows)
        return self.problems

    def record(self, record: RunRecord) -> None:
        """Ask a record for all that it has."""
        for name in (
            *(
                "status",
                "params",
                "data",
                "flat_data",
                "derived",
                "annotations",
                "error",
                "log",
                "artifacts",
                "tags",
            ),
            *(
                "notes",
                "started",
                "stopped",
                "duration",
                "seed",
                "edits",
                "inputs",
                "repeats",
                "children",
                "testing",
            ),
            *(
                "series_list",
                "artifact_list",
                "data_problem",
                "reason",
                "namespace",
                "index",
                "id",
                "key",
                "recorded",
            ),
        ):
            self.attempt(lambda name=name: getattr(record, name), f"record.{name}")  # type: ignore[misc]
        self.attempt(lambda: repr(record), "repr of a record")
        self.attempt(lambda: record.last_lines(5), "last_lines")
        for name in self.attempt(lambda: list(record.series), "series") or []:
            self.attempt(lambda name=name: record.series[name].value, f"series {name!r}")  # type: ignore[misc]
        for name in self.attempt(lambda: list(record.artifacts), "artifacts") or []:
            self.attempt(lambda name=name: record.artifacts[name], f"artifact {name!r}")  # type: ignore[misc]
        if len(record.path.parts) < 60:
            for child in self.attempt(lambda: record.children, "children") or []:
                self.record(child)

    def reports(self, rows: list[Any]) -> None:
        """Ask the command line."""
        at = ("--archive", str(self.root))
        for words in REPORTS:
            if self.root.is_file() and words[1] in ("repair", "restore", "purge", "delete", "modify"):
                continue
            self.command(*(word.format(out=self.out) for word in words), *at)
        folders = [os.fspath(row.path) for row in rows if os.path.isdir(row.path)][:3]
        for folder in folders:
            for (form,) in SHOWN:
                self.command("archive", "show", folder, "--format", form, *at)
        if len(folders) > 1:
            self.command("archive", "diff", *folders[:2], *at)
            self.command("archive", "diff", *folders[:2], "--format", "json", *at)
        target = self.out / "imported"
        target.mkdir(exist_ok=True)
        self.command("archive", "import", str(self.root), "--archive", str(target), "--yes")

    def command(self, *words: str) -> None:
        """Run a command; its exit status is one that is promised, and what it prints steers no terminal."""
        out, err = io.StringIO(), io.StringIO()

        def call() -> int:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                return expedition(words)

        status = self.attempt(call, " ".join(words))
        if status not in (None, 0, 1, 4):
            self.problems.append(f"{' '.join(words)} exits with {status}\n{err.getvalue()[-500:]}")
        text = out.getvalue() + err.getvalue()
        if "Traceback (most recent call last)" in err.getvalue():
            self.problems.append(f"{' '.join(words)} shows a traceback\n{err.getvalue()[-1500:]}")
        if "csv" in words:  # for programs: exact where it is printed to no terminal
            return
        odd = _STEERING.search(text)
        if odd is not None:
            place = max(0, odd.start() - 80)
            self.problems.append(f"{' '.join(words)} prints {odd[0]!r} in {text[place : place + 160]!r}")


def _value(row: RunRow, name: str) -> None:
    with contextlib.suppress(LookupError):  # what a row promises for what it does not have
        row.value(name)


@contextlib.contextmanager
def mutated(root: Path, change: Mutation) -> Iterator[None]:
    """Put changed bytes in the place of a file, and its own back afterwards; without what reading left."""
    file = root / change.place
    kept, status = file.read_bytes(), file.stat()
    if change.kind == "node":
        put_node(file, change.what, root.parent / "outside")
    else:
        file.write_bytes(change.content)
    try:
        yield
    finally:
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
        file.write_bytes(kept)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def put_node(file: Path, what: str, outside: Path) -> None:
    """Put something that is no file into the place of one."""
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
    elif what == "socket":
        here = os.getcwd()
        os.chdir(file.parent)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(file.name)
        os.chdir(here)
    else:
        targets = {
            "link out": outside / "canary.json",
            "link to zeros": Path("/dev/zero"),
            "link to itself": file,
        }
        file.symlink_to(targets.get(what, file.with_name("experiment_journal.jsonl")))


def unlike(before: dict[str, bytes], root: Path) -> list[str]:
    """Name the files that reading has changed, the index excepted."""
    after = content_of(root)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def content_of(root: Path) -> dict[str, bytes]:
    """Every file of an archive but those of its index."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.startswith("index.sqlite")
    }


def main() -> None:
    """Read the archive `source` once for each of `seeds`, changed by it; print a line of JSON for each that went wrong.

    The last line says how many were tried. Of a folder only mutations of the `kinds` of the order are made.
    """
    order = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    work = Path(order["work"])
    root, out = work / "results", work / "out"
    (work / "outside").mkdir(parents=True)
    for name in ("canary", "canary.npy", "canary.json", "canary.lock", "canary.py"):
        (work / "outside" / name).write_bytes(b"{}")
    shutil.copytree(order["source"], root) if Path(order["source"]).is_dir() else shutil.copy(
        order["source"], root
    )
    os.environ["TMPDIR"] = str(out)
    out.mkdir()
    os.chdir(out)
    watch = Watch(root, work)
    watch.outside = str(work / "outside")
    Reading(root, out).everything()  # so that all modules are there
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    original = content_of(root) if root.is_dir() else {}
    for seed in order["seeds"]:
        shutil.rmtree(out)
        out.mkdir()
        os.chdir(out)
        if original:
            change = mutate(original, seed, order["kinds"], work)
        else:
            change = mutate_zip(root.read_bytes(), seed, work)
        print(f"{seed} {change.kind} {change.place}: {change.what}"[:300], file=sys.stderr, flush=True)
        with mutated(root, change):
            before = content_of(root) if root.is_dir() else {}
            watch.found, watch.on = [], True
            problems = Reading(root, out).everything()
            watch.on = False
            if root.is_dir():
                problems += [f"reading has changed {name}" for name in unlike(before, root)]
        problems += sorted(set(watch.found))
        if problems:
            print(
                json.dumps([f"{seed} {change.kind} {change.place}: {change.what}"[:400], problems]),
                flush=True,
            )
        shutil.rmtree(root / ".expedition" / "cache", ignore_errors=True)
    print(json.dumps(["tried", len(order["seeds"])]))


if __name__ == "__main__":
    main()
