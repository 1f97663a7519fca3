"""`Run`: the object that an experiment gets, and the life of a run from its first file to its commit line."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import CodeType, MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeVar

from expedition.errors import ArtifactError, ExperimentError, UnstorableError, near_matches
from expedition.recording import artifacts as forms
from expedition.recording import layout, outcomes
from expedition.recording.artifacts import Artifacts
from expedition.recording.attempts import set_aside
from expedition.recording.cache import Cache
from expedition.recording.checkpoint import Checkpoint
from expedition.recording.clock import steady_now
from expedition.recording.files import Encoded, dump_pretty, replace_file
from expedition.recording.inputs import Changes, InputFiles, InputNotes, in_line
from expedition.recording.journal import SYNC_INTERVAL, Journal
from expedition.recording.masking import MASKED
from expedition.recording.meta import RunEnd, RunIdentity, error_line, write_meta
from expedition.recording.output import Output
from expedition.recording.series import SeriesRecorder
from expedition.recording.steps import STEPS
from expedition.recording.store import Store, nest
from expedition.recording.writer import SweepWriter, process_identity
from expedition.values import FileSink, dumps, encode, is_utf8

if TYPE_CHECKING:
    import numpy as np

    from expedition.recording.caching import CodeReader, RunCache

T = TypeVar("T")


class RunListener(Protocol):
    """Hears what a run says while it happens."""

    def said(self, run: Run, message: str) -> None:
        """The run logged `message`."""

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """The run finished `done` of `total` steps."""


class HookSource(Protocol):
    """Knows what fills the hooks of a run."""

    def apply(self, run: Run, name: str, default: Any, keywords: Mapping[str, Any]) -> Any:
        """Call what fills the hook `name`; return `default` when nothing does."""


class ChildRunner(Protocol):
    """Runs experiments inside of the run in progress."""

    def run_child(self, parent: Run, experiment: Any, params: Mapping[str, Any], *, beside: Path) -> Any:
        """Run `experiment` and return its record; a path is relative to the file `beside`."""


class Run:
    """One execution of an experiment: its parameters, and everything it records.

    Whatever is recorded is flushed at once, so that it survives the death of the process. Attributes are
    read-only; a parameter ``ALPHA`` is also ``run.ALPHA``.
    """

    def __init__(
        self,
        identity: RunIdentity,
        writer: SweepWriter | None = None,
        listener: RunListener | None = None,
        output: Output | None = None,
        hooks: HookSource | None = None,
        cache: Cache | None = None,
        children: ChildRunner | None = None,
        read_code: CodeReader | None = None,
        input_files: InputFiles | None = None,
        input_changes: Changes | None = None,
    ) -> None:
        folder = identity.folder
        self._input_files = input_files
        self._hooks = hooks
        self._cache = cache
        self._read_code = read_code
        self._children = children
        self._stale: list[str] = []
        self._identity = identity
        self._writer = writer
        self._listener = listener
        self._output = output
        syncer = writer.syncer if writer is not None else None
        self._journal = Journal(folder / layout.JOURNAL_FILE, syncer=syncer)
        self._mask = identity.mask
        write = self._write
        self._store = Store(write, FileSink(folder, guard=self._mask))
        self._series = SeriesRecorder(write, folder, syncer)
        self._artifacts = Artifacts(write, folder, self._mask)
        self._checkpoint = Checkpoint(folder, identity.attempt)
        self._derived: dict[str, Any] = {}
        self._annotations: dict[str, dict[str, str]] = {}
        self._tags = list(map(self._mask.text, identity.tags))
        self._notes = list(map(self._mask.text, identity.notes))
        self._inputs = InputNotes(write, input_changes)
        self._params = MappingProxyType(dict(identity.parameters))
        self._rng: np.random.Generator | None = None
        self._end, self._began = RunEnd(outcomes.PENDING, 0), 0
        self._process = writer.process if writer is not None else Encoded.of(process_identity())

    @classmethod
    def detached(cls, path: Path | str, /, *, seed: int = 0, **parameters: Any) -> Run:
        """Return a started run that records into the folder `path`, outside of any sweep.

        It is for tests that call an experiment as a function; use it as a context manager, or call `close`.
        What an earlier run recorded there goes to ``attempts/``.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        attempt = set_aside(folder) + 1
        about = {"name": "detached", "file": "", "function": "", "namespace": "", "description": ""}
        tagged = {name: encode(value, name=name) for name, value in parameters.items()}
        identity = RunIdentity(
            0, "detached", "", 0, attempt, seed, about, parameters, tagged, {}, (), (), folder, folder.parent
        )
        run = cls(identity)
        run.start()
        return run

    # -- identity ------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """``name=value`` pairs of the swept parameters."""
        return self._identity.id

    @property
    def key(self) -> str:
        """The run key, 64 hexadecimal digits."""
        return self._identity.key

    @property
    def index(self) -> int:
        """Position of the run in its sweep."""
        return self._identity.index

    @property
    def replicate(self) -> int:
        """Which replicate of its point this run is, from 0."""
        return self._identity.replicate

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._identity.folder

    @property
    def sweep_path(self) -> Path:
        """The sweep folder."""
        return self._identity.sweep

    @property
    def params(self) -> Mapping[str, Any]:
        """All parameters by name, read-only."""
        return self._params

    @property
    def seed(self) -> int:
        """The seed of this run: 63 bits, the same whenever and wherever the run is made."""
        return self._identity.seed

    @property
    def rng(self) -> np.random.Generator:
        """A random generator of this run alone: ``numpy.random.default_rng(seed)``."""
        if self._rng is None:
            import numpy as np

            self._rng = np.random.default_rng(self.seed)
        return self._rng

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of the run, in the order they were given; `tag` adds one."""
        return tuple(self._tags)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._params:
            return self._params[name]
        raise AttributeError(
            f"a run has no attribute or parameter {name!r}"
            f"{near_matches(name, [*self._params, *dir(type(self))])}"
        )

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        what = "parameters of a run are fixed" if name in self._params else "a run takes no attributes"
        raise AttributeError(f"{what}: {name} cannot be assigned; record it with experiment[{name!r}] = …")

    def __repr__(self) -> str:
        return f"<Run {self._identity.experiment['name']}[{self.id}] {self._end.status} in {self.path}>"

    # -- log -----------------------------------------------------------------------------------------------

    def log(self, message: object) -> None:
        """Write a message to the run's log and to the terminal."""
        text = self._mask.text(str(message))
        if self._output is not None:
            self._output.write_line(text)
        if self._listener is not None:
            self._listener.said(self, text)

    def log_pretty(self, value: object) -> None:
        """Log a value over as many lines as it takes to read it."""
        import pprint

        self.log(pprint.pformat(value, width=100))

    def log_params(self) -> None:
        """Log every parameter with its type and value."""
        lines = ["parameters"]
        for name, value in self._params.items():
            about = self._identity.about.get(name, {})
            shown = MASKED if self._identity.tagged.get(name) == MASKED else repr(value)
            lines.append(
                f"  {name} ({about.get('type') or type(value).__name__}) = "
                f"{shown if len(shown) <= 200 else shown[:199] + '…'}"
            )
        self.log("\n".join(lines))

    # -- hooks ---------------------------------------------------------------------------------------------

    def apply_hook(self, name: str, /, default: Any = None, **keywords: Any) -> Any:
        """Call what fills the hook `name`, with the run and `keywords`; return `default` when nothing does.

        The nearest definition is called: that of the experiment's own file before those of its mixins,
        conftests and what it extends. A detached run has no hooks.
        """
        return default if self._hooks is None else self._hooks.apply(self, name, default, keywords)

    # -- nested runs ---------------------------------------------------------------------------------------

    def run_child(self, experiment: Any, /, **params: Any) -> Any:
        """Run another experiment inside of this run, with the values `params`; return its `RunRecord`.

        `experiment` is a marked function, what ``experiment.extend`` made, or a path as in ``"exp_b.py::exp_b"``,
        also of a config, relative to the file that names it. Parameters that are not given have the values that
        the experiment has on its own, swept ones their defaults. The run has its own folder below ``children/``,
        its own seed, variables, log and hooks, and the values of this run are put back after it.

        A child that skips or prunes itself is returned with that status. What it raises goes on when its record is
        complete, a failure by ``e.fail`` as a `RunFailedError`. Raises `ExperimentError` for a wrong experiment or
        parameter, and for a child that needs fixtures of pytest.
        """
        if self._children is None:
            raise ExperimentError(
                "only a run of a sweep runs children, and not one that was made with Run.detached, or for after_sweep"
            )
        beside = Path(sys._getframe(1).f_code.co_filename)
        return self._children.run_child(self, experiment, params, beside=beside)

    # -- cache ---------------------------------------------------------------------------------------------

    @property
    def cache(self) -> RunCache:
        """Keeps what functions return from run to run: ``@e.cache.cached(name)``.

        A detached run has a cache that keeps nothing.
        """
        from expedition.recording.caching import RunCache

        cache = self._cache if self._cache is not None else Cache(self.path, enabled=False)
        secrets = {name for name, tagged in self._identity.tagged.items() if tagged == MASKED}
        return RunCache(
            cache,
            self,
            self._params,
            secrets,
            self._read_code,
            self.note_in_log,
            self._stale.append,
            self._inputs,
        )

    @property
    def stale(self) -> list[str]:
        """Why results were computed in this run and not taken from the cache, one text for each."""
        return self._stale

    def note_in_log(self, message: str) -> None:
        """Write a message to the run's log, and not to the terminal."""
        if self._output is not None:
            self._output.write_line(message)

    # -- store ---------------------------------------------------------------------------------------------

    @property
    def data(self) -> dict[str, Any]:
        """All stored values as a nested dict (a fresh one), without scratch keys."""
        return self._store.nested()

    def __setitem__(self, key: str, value: Any) -> None:
        """Store `value` under the slash path `key`, a dict as a group.

        A top-level key that begins with ``_`` is scratch and not saved. Raises `UnstorableError` (a
        `TypeError`) at once, naming key and type, when the value cannot be kept exactly.
        """
        self._store.set(key, value)

    def __getitem__(self, key: str) -> Any:
        """Return a stored value, or a group as a nested dict. Raises `KeyError`."""
        return self._store.get(key)

    def __delitem__(self, key: str) -> None:
        """Remove a stored value or group. Raises `KeyError`."""
        self._store.delete(key)

    def __contains__(self, key: object) -> bool:
        return key in self._store

    def get(self, key: str, default: Any = None) -> Any:
        """Return a stored value or group, or `default`."""
        return self._store.get(key) if key in self._store else default

    # -- series --------------------------------------------------------------------------------------------

    def track(self, name: str, value: Any, step: int | None = None) -> None:
        """Append `value` to the series `name`.

        Takes numbers (Python's, numpy's, 0-d arrays), arrays of one shape and dtype per series, matplotlib
        figures and PIL images. Without `step` the step follows the last one, from 0. The time is recorded.
        Raises `UnstorableError` (a `TypeError`) for anything else.
        """
        self._series.track(name, value, step)

    def track_many(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Append one value to each of several series; a nested dict makes grouped names."""
        for name, value in values.items():
            if isinstance(value, Mapping):
                self.track_many({f"{name}/{inner}": v for inner, v in value.items()}, step)
            else:
                self._series.track(name, value, step)

    # -- artifacts -----------------------------------------------------------------------------------------

    def commit(self, name: str, obj: Any, *, overwrite: bool = False) -> Path:
        """Write `obj` as the artifact `name`, in the form that its type suggests; return the file's path.

        Text and bytes are written as they are, a `pathlib.Path` is copied, arrays become ``.npy``, frames
        ``.parquet`` or ``.csv`` by the ending, figures pictures, anything else JSON. Sub-folders are made.
        Raises `ArtifactError` for a name that is taken (unless `overwrite`) or leaves the run folder.
        """
        form = forms.commit_form(obj)
        if form == "file":
            return self.commit_file(obj, name, overwrite=overwrite)
        method = getattr(self, f"commit_{form}")
        path: Path = method(name, obj, overwrite=overwrite)
        return path

    def commit_fig(self, name: str, figure: Any, *, overwrite: bool = False) -> Path:
        """Save a matplotlib figure (or the figure of an axes) under `name`, as PNG when it has no ending."""
        make = forms.picture_of(figure)
        return self._artifacts.commit_made(name, "figure", make, overwrite=overwrite, suffix=".png")

    def commit_json(self, name: str, value: Any, *, overwrite: bool = False) -> Path:
        """Write `value` as strict JSON; numpy numbers and arrays become numbers and lists."""
        content = forms.bytes_of_json(value, name)
        return self._artifacts.commit_bytes(name, content, "json", overwrite=overwrite, suffix=".json")

    def commit_raw(self, name: str, content: str | bytes, *, overwrite: bool = False) -> Path:
        """Write text (UTF-8) or bytes as they are."""
        if not isinstance(content, str | bytes | bytearray | memoryview):
            raise UnstorableError(
                f"artifact {name!r}: commit_raw takes text or bytes, but got a {type(content).__name__}"
            )
        raw = content.encode() if isinstance(content, str) else bytes(content)
        return self._artifacts.commit_bytes(name, raw, "raw", overwrite=overwrite)

    def commit_array(self, name: str, array: Any, *, overwrite: bool = False) -> Path:
        """Write a numpy array as ``.npy``."""
        content = forms.bytes_of_array(array, name)
        return self._artifacts.commit_bytes(name, content, "array", overwrite=overwrite, suffix=".npy")

    def commit_frame(self, name: str, frame: Any, *, overwrite: bool = False) -> Path:
        """Write a pandas frame or series as ``.csv`` or ``.parquet``, by the ending of `name` (``.csv``)."""
        if not hasattr(frame, "to_csv"):
            raise UnstorableError(
                f"artifact {name!r}: commit_frame takes a pandas frame, but got a {type(frame).__name__}"
            )
        ending = Path(name).suffix
        if ending not in {"", ".csv", ".parquet"}:
            raise ArtifactError(f"artifact {name!r}: a frame is written as .csv or .parquet, not {ending}")
        if ending == ".parquet":
            table = frame if hasattr(frame, "to_parquet") else frame.to_frame()
            return self._artifacts.commit_made(name, "frame", table.to_parquet, overwrite=overwrite)
        return self._artifacts.commit_made(name, "frame", frame.to_csv, overwrite=overwrite, suffix=".csv")

    def commit_file(self, source: Path | str, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Copy an existing file into the run folder, under its own name or `name`."""
        return self._artifacts.commit_file(name or Path(source).name, Path(source), overwrite=overwrite)

    def open(self, name: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Open a file of the run folder; one opened to write becomes an artifact when the run ends."""
        return self._artifacts.open(name, mode, **options)

    # -- checkpoint ----------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """A folder for what the next attempt of this run goes on with, made when it is first asked for.

        It survives a retry and ``--resume``, until the run is done or its code is another; it is no part of the
        record. Nothing in it is written whole by itself: see `checkpoint_file`.
        """
        return self._checkpoint.folder

    @property
    def resumed(self) -> bool:
        """Whether an earlier attempt of this run left a file in `checkpoint`."""
        return self._checkpoint.is_resumed

    def checkpoint_file(self, name: str) -> AbstractContextManager[Path]:
        """Write a file of the checkpoint so that a kill leaves the old one or the new one, never a part.

        ``with e.checkpoint_file("state.npz") as path: np.savez(path, w=w)``. The block gets the path of a new file with
        the same ending; when it ends without an exception the file is forced to the disk and takes the place of
        `name`. Raises `ArtifactError` for a name that leaves the folder, or when the block wrote nothing.
        """
        return self._checkpoint.file(name)

    # -- record-keeping ------------------------------------------------------------------------------------

    def tag(self, *tags: str) -> None:
        """Add tags to the run."""
        for tag in tags:
            if not isinstance(tag, str) or not tag:
                raise UnstorableError(f"a tag must be a text, but got {tag!r}")
            if tag not in self._tags:
                self._note_down({"e": "tag", "v": tag}, partial(self._tags.append, tag))

    def note(self, text: str) -> None:
        """Add a note to the run's record."""
        if not isinstance(text, str):
            raise UnstorableError(f"a note must be a text, but got a {type(text).__name__}")
        self._note_down({"e": "note", "v": text}, partial(self._notes.append, text))

    def input(self, path: Path | str) -> Path:
        """Record that the run reads a file or folder; return its absolute path.

        A relative path begins at the folder of the file that calls this, whatever the current folder is. Recorded are
        path, SHA-256, size and time of change, as they are now; a run whose inputs are others by then is run again by
        ``--resume``. Of a large file the hash takes seconds once in a process.

        Raises `ExperimentError`, with near matches, when it is not there, `OSError` when it cannot be read.
        """
        beside = Path(sys._getframe(1).f_code.co_filename)
        if self._input_files is None:
            self._input_files = InputFiles(Path.cwd())
        found = self._input_files.resolve(path, beside=beside)
        self.note_inputs([self._input_files.describe(found)])
        return found

    def note_inputs(self, inputs: Iterable[Mapping[str, Any]]) -> None:
        """Record that the run reads what is described: files and folders as `input` does, past runs each with
        `kind`, `key`, `sweep`, `folder`, `status`, `attempt` and `start`.

        The fixture `results` calls it. What is recorded already is passed over.
        """
        self._inputs.note(inputs)

    def note_inputs_of(self, child: Run) -> None:
        """Record that this run reads what `child` has read, a run that it is nested around."""
        self._inputs.note(child._inputs.listing)

    def annotate(self, key: str, text: str = "", *, unit: str = "") -> None:
        """Say what a parameter, result or series means, and in which unit it is."""
        if not all(isinstance(part, str) for part in (key, text, unit)) or not key:
            raise UnstorableError(f"annotate takes texts, but got {key!r}, {text!r}, {unit!r}")
        if not is_utf8(key):
            raise UnstorableError(
                f"annotate: UTF-8 cannot write the name {key!r}; leave the lone surrogate out"
            )
        entry = {name: value for name, value in (("comment", text), ("unit", unit)) if value}
        whole = {**self._annotations.get(key, {}), **entry}
        self._note_down(
            {"e": "annotate", "k": key, "v": entry}, lambda: self._annotations.update({key: whole})
        )

    def derived(self, name: str, value: T) -> T:
        """Record a parameter that follows from others; return `value`."""
        if not isinstance(name, str) or not all(name.split("/")):
            raise UnstorableError(f"a derived parameter needs a name, but got {name!r}")
        if not is_utf8(name):
            raise UnstorableError(
                f"a derived parameter needs a name that UTF-8 can write, but {name!r} has a lone surrogate; leave it "
                f"out"
            )
        tagged = encode(value, name=name, sink=FileSink(self.path, "data/derived", guard=self._mask))
        self._note_down(
            {"e": "derived", "k": name, "v": tagged}, lambda: self._derived.update({name: tagged})
        )
        return value

    def progress(self, iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield the items of `iterable`, telling the terminal how many of `total` are done."""
        if total is None:
            try:
                total = len(iterable)  # type: ignore[arg-type]
            except TypeError:
                total = None
        for done, item in enumerate(iterable, 1):
            yield item
            if self._listener is not None:
                self._listener.progressed(self, done, total)

    # -- outcome -------------------------------------------------------------------------------------------

    def skip(self, reason: str) -> NoReturn:
        """End the run here: it does not apply. Outcome ``skipped``."""
        __tracebackhide__ = True  # pytest names the line of the experiment
        raise outcomes.SkipRun(reason)

    def fail(self, reason: str) -> NoReturn:
        """End the run here as failed."""
        __tracebackhide__ = True  # pytest names the line of the experiment
        raise outcomes.FailRun(reason)

    def prune(self, reason: str = "pruned") -> NoReturn:
        """End the run here: it is not worth going on with. Outcome ``pruned``."""
        __tracebackhide__ = True  # pytest names the line of the experiment
        raise outcomes.PruneRun(reason)

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the record: the meta file says ``running``, output goes to the log. Raises `OSError`."""
        self._end, self._began = RunEnd(outcomes.RUNNING, time.time_ns() // 1000), steady_now()
        self._write_meta()
        if self._output is not None:
            self._output.start()

    @property
    def finished(self) -> bool:
        """Whether the run has its end record."""
        return self._end.status not in (outcomes.PENDING, outcomes.RUNNING)

    @property
    def status(self) -> str:
        """``running``, or how the run ended."""
        return self._end.status

    def finish(
        self,
        status: str,
        *,
        error: BaseException | None = None,
        entry: CodeType | None = None,
        reason: str = "",
        expected_failure: bool = False,
    ) -> RunEnd:
        """End the record: data, then the meta file with `status`, then the commit line.

        The recorded traceback of `error` begins with the frame of `entry`, the experiment's own function.

        What goes wrong here never hides `error`; it is added to the record, and a done run is then failed.
        """
        if self.finished:
            return self._end
        start = self._end.start or time.time_ns() // 1000  # of one that could not begin
        end = RunEnd(status, start, reason=self._mask.text(reason), expected_failure=expected_failure)
        if error is not None:
            end.error = {n: self._mask.text(text) for n, text in describe_error(error, entry).items()}
            if isinstance(error, AssertionError):
                end.criterion = (end.error["message"].splitlines() or [""])[0]
        took = steady_now() - self._began if self._began else 0
        # To force a shorter one to the disk would take longer than it did.
        is_worth = took > SYNC_INTERVAL * 1e6
        self._attempt(end, lambda: end.problems.extend(map(self._mask.text, self._artifacts.settle())))
        self._attempt(end, lambda: end.problems.extend(map(self._mask.text, self._store.settle())))
        self._attempt(end, lambda: self._series.close(durable=is_worth))
        if self._store.tagged:
            data = nest(self._store.tagged)
            self._attempt(
                end, lambda: replace_file(self.path / layout.DATA_FILE, dump_pretty(data), durable=is_worth)
            )
        if self._output is not None:
            self._attempt(end, self._output.stop)
        self._attempt(end, lambda: self._journal.close(durable=is_worth))
        end.stop = end.start + (steady_now() - self._began if self._began else 0)
        self._end = end
        if not self._attempt(end, lambda: self._write_meta(durable=is_worth)):
            # What there is no room for is in the journal still.
            self._attempt(end, lambda: self._write_meta(in_place=True))
        if self._writer is not None and not self._identity.is_nested:
            try:
                self._writer.commit(self._commit_line())
            except Exception as problem:  # the line can be made again from the folder, which is complete
                end.problems.append(f"{type(problem).__name__}: {problem}")
        return end

    @property
    def problems(self) -> list[str]:
        """What could not be recorded when the run ended."""
        return list(self._end.problems)

    def summary(self) -> dict[str, Any]:
        """Status, seconds and error of the run in a few plain values, small enough for every report."""
        end = self._end
        return {
            "status": end.status,
            "duration": (end.stop - end.start) / 1e6 if end.stop is not None else 0.0,
            "error": error_line(end.error, 200) or "",
        }

    def close(self) -> None:
        """End a detached run as done."""
        self.finish(outcomes.DONE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.finish(outcomes.DONE if error is None else outcomes.FAILED, error=error)

    @STEPS.step
    def _note_down(self, event: dict[str, Any], follow: Callable[[], object]) -> None:
        self._write(dumps(event))
        follow()
        if STEPS.waiting is not None:
            STEPS.let_in()

    def _write(self, line: str) -> None:
        """Write a line of the journal, which has to be without secrets."""
        if self._mask:
            self._mask.check_event(line)
        self._journal.write(line)

    def _attempt(self, end: RunEnd, action: Callable[[], object]) -> bool:
        """Do a part of the end; when it fails the run has failed, and the other parts get their turn."""
        before = len(end.problems)
        try:
            action()
        except Exception as problem:
            end.problems.append(self._mask.text(f"{type(problem).__name__}: {problem}"))
        if len(end.problems) == before:
            return True
        if end.status == outcomes.DONE:
            end.status = outcomes.FAILED
        if end.error is None:
            kind, _, message = end.problems[0].partition(": ")
            end.error = {"type": kind, "message": message, "traceback": ""}
        return False

    def _write_meta(self, *, in_place: bool = False, durable: bool = False) -> None:
        rng: dict[str, Any] = {"generator": "numpy.random.default_rng", "seed": self.seed}
        if self._rng is not None:
            rng["final_state"] = encode(self._rng.bit_generator.state, name="rng state")
        extras: dict[str, Any] = {"tags": self._tags, "notes": self._notes}
        for name, content in (
            ("series", self._series.summary()),
            ("artifacts", self._artifacts.listing()),
            ("derived", self._derived),
            ("annotations", self._annotations),
            ("inputs", self._inputs.listing),
        ):
            if content and not in_place:
                extras[name] = content
        process = self._process
        write_meta(
            self._identity,
            self._end,
            process=process,
            rng=rng,
            extras=extras,
            in_place=in_place,
            durable=durable,
        )

    def _commit_line(self) -> dict[str, Any]:
        end, error = self._end, self._end.error
        line: dict[str, Any] = {
            "index": self.index,
            "attempt": self._identity.attempt,
            "key": self.key,
            "status": end.status,
            "expected_failure": end.expected_failure,
            "start": end.start,
            "stop": end.stop,
            "worker": self._writer.worker if self._writer is not None else "",
            "seed": self.seed,
            "error": error_line(error),
            "data": self._store.tagged,
        }
        for name, content in (
            ("series", self._series.summary()),
            ("derived", self._derived),
            ("annotations", self._annotations),
            ("code", self._identity.code),
            ("inputs", in_line(self._inputs.listing)),
        ):
            if content:
                line[name] = content
        return line


def describe_error(error: BaseException, entry: CodeType | None = None) -> dict[str, str]:
    """Type, message and traceback of an exception, as texts; the traceback from the frame of `entry` on."""
    begin = error.__traceback__
    while begin is not None and begin.tb_frame.f_code is not entry:
        begin = begin.tb_next
    try:
        trace = "".join(traceback.format_exception(type(error), error, begin or error.__traceback__))
    except Exception as second:
        trace = f"(its traceback cannot be shown: {type(second).__name__})"
    try:
        message = str(error)
    except Exception as second:
        message = f"(its message cannot be shown: {type(second).__name__})"
    return {"type": type(error).__name__, "message": _sendable(message), "traceback": _sendable(trace)}


def _sendable(text: str) -> str:
    """Text that UTF-8 can hold, so that a report with it can be sent: lone surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
