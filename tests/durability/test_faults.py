"""Faults at random moments of a sweep that is resumed after each: nothing acknowledged is lost, torn, or false.

``EXPEDITION_FAULTS=SEED:SWEEP`` repeats the faults of one sweep, as a failure names them; the moment at which a fault
strikes differs from run to run all the same. ``EXPEDITION_THOROUGH=7`` tries 210 faults, with further seeds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from expedition import RunRecord, Trajectory
from expedition.archive.sweep import SweepFolder
from tests.durability.faults import Fault, choose
from tests.durability.laboratory import Laboratory, Started, small_file_system
from tests.durability.ledger import ENDED, EXPERIMENT, FIGURES, RUNS, STEPS, Figures, Ledger, compare
from tests.thoroughness import examples

SEED = 20261123
SWEEPS = examples(6)
FAULTS_PER_SWEEP = 5
INVOCATIONS = 20
"""At most so many are begun for these: some have ended before the fault strikes."""

BYTES_OF_A_RUN = 1200
"""About what one run acknowledges."""

LISTED = ("--archive-list", "--archive-format", "json")


def _asked_for() -> list[str]:
    again = os.environ.get("EXPEDITION_FAULTS")
    return [again] if again else [f"{SEED}:{number}" for number in range(SWEEPS)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """The same sweep without a fault."""
    lab = Laboratory(tmp_path_factory.mktemp("undisturbed") / "lab")
    lab.write("exp_ledger.py", EXPERIMENT)
    lab.run().exits(0)
    return lab


@pytest.mark.parametrize("name", _asked_for())
def test_a_sweep_outlives_faults_at_random_moments(
    name: str,
    tmp_path: Path,
    undisturbed: Laboratory,
    record_property: Callable[[str, object], None],
) -> None:
    seed, _, number = name.partition(":")
    chance = random.Random(f"{seed} {number}")
    here = Figures()
    told: list[str] = []
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(small_file_system(tmp_path / "disk")) if chance.random() < 0.5 else None
        lab, root, ledger = _begin(tmp_path, disk, 0)
        for invocation in range(INVOCATIONS):
            if here.faults == FAULTS_PER_SWEEP or not here.is_clean():
                break
            if len(_waiting(ledger)) < 2:  # hardly anything is left that could come to grief
                _complete(lab, root, ledger, here, undisturbed)
                lab, root, ledger = _begin(tmp_path, disk, invocation)
            fault = choose(chance, has_small_disk=disk is not None)
            told.append(_suffer(lab, root, ledger, fault, chance, here))
        if here.is_clean():
            _complete(lab, root, ledger, here, undisturbed)
        record_property(FIGURES, here.numbers())  # shown at the end, by tests/conftest.py
        if not here.is_clean():
            kept = shutil.copytree(root, tmp_path / "kept") if disk is not None else root
            story = "\n".join([*told, *here.findings])
            pytest.fail(f"EXPEDITION_FAULTS={name}, the archive is in {kept}\n{story}", pytrace=False)


def _begin(folder: Path, disk: Path | None, number: int) -> tuple[Laboratory, Path, Ledger]:
    """A new project; its archive is on the disk that can be filled, if there is one."""
    lab = Laboratory(folder / f"lab-{number}")
    lab.write("exp_ledger.py", EXPERIMENT)
    root = lab.path / "results"
    if disk is not None:
        root = disk / "results"
        shutil.rmtree(root, ignore_errors=True)  # it is small
    return lab, root, Ledger(lab.side, root)


def _suffer(
    lab: Laboratory, root: Path, ledger: Ledger, fault: Fault, chance: random.Random, figures: Figures
) -> str:
    """Go on with the sweep, let the fault strike, and compare all that is there afterwards; return what happened."""
    waiting = _waiting(ledger)
    arguments = ["--resume", f"--archive={root}", *(["-n", fault.workers] if fault.workers else [])]
    before = ledger.count()
    known = {(x, attempt) for x, attempt, _ in ledger.attempts()}
    started = lab.start(*arguments, ORDER=fault.order(chance, waiting))
    strikes = not fault.strike
    if fault.strike:
        # Before the first run, while runs run, or at the very end.
        moment = chance.choice((0, chance.uniform(0, 1), chance.uniform(0, 1), chance.uniform(0, 1.1)))
        _wait(
            started, lambda: ledger.count() - before >= moment * len(waiting) * BYTES_OF_A_RUN, chance, moment
        )
        strikes = started.process.poll() is None and fault.strike(started, root, chance)
    begin = time.monotonic()
    code = started.end().code
    if strikes and fault.is_signal:
        figures.slowest = max(figures.slowest, time.monotonic() - begin)
    give_up = time.monotonic() + 60
    while started.alive() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not started.alive(), f"{fault.name}: workers are alive a minute after the controller is gone"
    what = f"{fault.name} with {fault.workers} workers: exit code {code}"
    if strikes and code not in fault.codes | {0} | _codes_without_runs(fault, ledger, known):
        figures.note("false", f"{what}, wanted one of {sorted(fault.codes)}\n{started.text()[-3000:]}")
    listed = None
    if root.exists():
        shown = lab.pytest(*LISTED, f"--archive={root}").exits(0).text
        listed = {row["id"]: row["status"] for row in json.loads(shown)}
    ledger.check(figures, fault.statuses if strikes else (), listed)
    figures.faults += bool(strikes)
    return what if strikes else f"{what}; it had ended before"


def _codes_without_runs(fault: Fault, ledger: Ledger, known: set[tuple[int, int]]) -> set[int]:
    """Before and after the session the system ends a process as it ends any other; then no run may be cut short."""
    cut = [
        x for x, attempt, lines in ledger.attempts() if (x, attempt) not in known and (ENDED, 0) not in lines
    ]
    return set() if cut or not fault.is_signal else {-number for number in (1, 2, 15)} | {130}


def _wait(started: Started, condition: Callable[[], bool], chance: random.Random, moment: float) -> None:
    process = started.process
    if moment == 0:  # while pytest starts, collects, makes the sweep folder
        give_up = time.monotonic() + chance.uniform(0.2, 1.2)
        while process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.01)
        return
    while process.poll() is None and not condition():
        time.sleep(0.003)
    time.sleep(chance.uniform(0, 0.005))


def _waiting(ledger: Ledger) -> list[int]:
    """The runs that are not done."""
    sweep = ledger.sweep()
    if sweep is None:
        return list(range(RUNS))
    folders = [sweep.path / entry.folder for entry in sweep.entries]
    begun = [(folder / "experiment_meta.json").exists() for folder in folders]
    return [x for x, folder in enumerate(folders) if not (begun[x] and RunRecord(folder).status == "done")]


def _complete(lab: Laboratory, root: Path, ledger: Ledger, figures: Figures, undisturbed: Laboratory) -> None:
    """Resume without a fault: the sweep is then what it would have been without any."""
    lab.run("--resume", f"--archive={root}").exits(0)
    ledger.check(figures, ())
    found = ledger.sweep()
    assert found is not None
    other = SweepFolder.open(undisturbed.sweep())
    assert [entry.id for entry in found.entries] == [entry.id for entry in other.entries]
    for mine, wanted in zip(found.entries, other.entries, strict=True):
        record, reference = RunRecord(found.path / mine.folder), RunRecord(other.path / wanted.folder)
        assert (record.status, record.key, record.seed) == ("done", reference.key, reference.seed)
        full = [("ended", 0), *(("value", i) for i in range(STEPS)), ("array", 0)]
        compare(record, mine.index, full, (), Figures(), record.id)
        assert record.flat_data.keys() == reference.flat_data.keys()
        assert record.artifacts.keys() == reference.artifacts.keys()
        for name in reference.series:
            assert record.series[name].value.tolist() == reference.series[name].value.tolist()
    with (
        Trajectory.open(found.path / "trajectory.h5") as one,
        Trajectory.open(other.path / "trajectory.h5") as two,
    ):
        left, right = one.to_pandas(), two.to_pandas()
        told = {"start", "stop", "duration", "worker", "attempt", "folder", "error"}
        columns = [name for name in right if str(name).rpartition(".")[2] not in told]
        assert set(left) == set(right)
        assert left[columns].equals(right[columns])
        assert one.runs.status[:].tolist() == ["done"] * RUNS


# -- the comparison itself -------------------------------------------------------------------------------------


@pytest.fixture
def recorded(lab: Laboratory, undisturbed: Laboratory) -> Ledger:
    """A ledger over a copy of the undisturbed sweep, to tamper with."""
    shutil.copytree(undisturbed.path / "results", lab.path / "results")
    shutil.copytree(undisturbed.side, lab.side, dirs_exist_ok=True)
    ledger = Ledger(lab.side, lab.path / "results")
    figures = Figures()
    ledger.check(figures, ())
    assert figures.is_clean(), figures.findings
    assert figures.records > RUNS * STEPS
    return ledger


def _folder(ledger: Ledger, x: int) -> Path:
    sweep = ledger.sweep()
    assert sweep is not None
    return sweep.path / sweep.entries[x].folder


def test_the_comparison_notices_a_lost_record(recorded: Ledger) -> None:
    journal = _folder(recorded, 2) / "experiment_journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"n":"value","s":17' not in line.replace(b" ", b"")]
    assert len(kept) == len(lines) - 1
    journal.write_bytes(b"".join(kept))
    figures = Figures()
    recorded.check(figures, ())
    assert figures.lost == 1
    assert "value 17" in figures.findings[0]


def test_the_comparison_notices_a_torn_value(recorded: Ledger) -> None:
    file = _folder(recorded, 3) / "experiment_data.json"
    content = json.loads(file.read_bytes())
    content["at"]["9"] = [0.5, 9]
    file.write_text(json.dumps(content), encoding="utf-8")
    figures = Figures()
    recorded.check(figures, ())
    assert figures.torn == 1
    assert "at 9" in figures.findings[0]


def test_the_comparison_notices_a_false_status(recorded: Ledger, lab: Laboratory) -> None:
    book = lab.side / "4-0.acknowledged"
    book.write_bytes(b"".join(line for line in book.read_bytes().splitlines(True) if b"ended" not in line))
    meta = _folder(recorded, 5) / "experiment_meta.json"
    meta.write_bytes(meta.read_bytes().replace(b'"status": "done"', b'"status": "failed"'))
    figures = Figures()
    recorded.check(figures, {"crashed"})
    text = "\n".join(figures.findings)
    assert "run 4, attempt 0: done, but its function did not end" in text
    assert "run 5, attempt 0: failed" in text
    assert figures.false >= 2


def test_recording_that_keeps_lines_back_does_not_pass(lab: Laboratory) -> None:
    lab.write("exp_ledger.py", EXPERIMENT)
    lab.write(
        "conftest.py",
        """
        from expedition.recording.journal import Journal

        before, waiting = Journal.write, []

        def later(self, text):
            waiting.append(text)
            if len(waiting) == 10:
                for text in waiting:
                    before(self, text)
                waiting.clear()

        Journal.write = later
        """,
    )
    ledger = Ledger(lab.side, lab.path / "results")
    lab.run(ORDER=json.dumps({"x": 2, "step": 25, "code": "os._exit(7)"}))
    figures = Figures()
    ledger.check(figures, {"crashed"})
    assert figures.lost > 0
