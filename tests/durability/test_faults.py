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
from tests.durability.comparison import Comparison, Harm
from tests.durability.faults import FAULTS, Fault, choose
from tests.durability.figures import FIGURES, Figures
from tests.durability.laboratory import Laboratory, Started, small_file_system
from tests.durability.ledger import BYTES_OF_A_RUN, EXPERIMENT, RUNS, STEPS, Ledger
from tests.thoroughness import examples

SEED = 20261123
SWEEPS = examples(6)
FAULTS_PER_SWEEP = 5
INVOCATIONS = 20
"""At most so many are begun for these: some have ended before the fault strikes."""

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
        lab, comparison = _begin(tmp_path, disk, 0)
        for invocation in range(INVOCATIONS):
            if here.faults == FAULTS_PER_SWEEP or not here.is_clean():
                break
            if len(_waiting(comparison.ledger)) < 2:  # hardly anything is left that could come to grief
                _complete(lab, comparison, here, undisturbed)
                lab, comparison = _begin(tmp_path, disk, invocation)
            fault = choose(chance, has_small_disk=disk is not None)
            told.append(_suffer(lab, comparison, fault, chance, here))
        if here.is_clean():
            _complete(lab, comparison, here, undisturbed)
        record_property(FIGURES, here.numbers())  # shown at the end, by tests/conftest.py
        if not here.is_clean():
            root = comparison.ledger.root
            kept = root
            if disk is not None and root.exists():
                kept = shutil.copytree(root, tmp_path / "kept")
            story = "\n".join([*told, *here.findings])
            pytest.fail(f"EXPEDITION_FAULTS={name}, the archive is in {kept}\n{story}", pytrace=False)


def _begin(folder: Path, disk: Path | None, number: int) -> tuple[Laboratory, Comparison]:
    """A new project; its archive is on the disk that can be filled, if there is one."""
    lab = Laboratory(folder / f"lab-{number}")
    lab.write("exp_ledger.py", EXPERIMENT)
    root = lab.path / "results"
    if disk is not None:
        root = disk / "results"
        shutil.rmtree(root, ignore_errors=True)  # it is small
    return lab, Comparison(Ledger(lab.side, root))


def _suffer(
    lab: Laboratory, comparison: Comparison, fault: Fault, chance: random.Random, figures: Figures
) -> str:
    """Go on with the sweep, let the fault strike, and compare all that is there afterwards; return what happened."""
    ledger = comparison.ledger
    waiting = _waiting(ledger)
    culprit = chance.choice(waiting)
    before, known = ledger.count(), ledger.attempts().keys()
    started = lab.start(
        "--resume",
        f"--archive={ledger.root}",
        *(["-n", fault.workers] if fault.workers else []),
        ORDER=fault.order(chance, culprit),
    )
    strikes, over = False, frozenset(known)
    if fault.strike:
        # Before the first run, while runs run, or at the very end.
        moment = chance.choice((0, chance.uniform(0, 1), chance.uniform(0, 1), chance.uniform(0, 1.1)))
        _wait(
            started, lambda: ledger.count() - before >= moment * len(waiting) * BYTES_OF_A_RUN, chance, moment
        )
        over = frozenset(key for key, attempt in ledger.attempts().items() if attempt.over)
        strikes = started.process.poll() is None and fault.strike(started, ledger.root, chance)
    begin = time.monotonic()
    code = started.end().code
    if strikes and fault.is_signal:
        figures.slowest = max(figures.slowest, time.monotonic() - begin)
    give_up = time.monotonic() + 60
    while started.alive() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not started.alive(), f"{fault.name}: workers are alive a minute after the controller is gone"
    new = ledger.attempts().keys() - known
    if fault.code:
        strikes = any(x == culprit and ledger.attempts()[x, number].struck for x, number in new)
    what = f"{fault.name} with {fault.workers} workers: exit code {code}"
    is_complete = not _waiting(ledger)
    if strikes and not fault.may_end_with(code, has_begun=bool(new), is_complete=is_complete):
        figures.note("false", f"{what}, wanted one of {sorted(fault.codes)}; complete: {is_complete}")
    if not strikes and (code or not is_complete):
        figures.note("false", f"{what}, though it had ended before; complete: {is_complete}")
    listed = None
    if ledger.root.exists():
        shown = lab.pytest(*LISTED, f"--archive={ledger.root}").exits(0).text
        listed = [(row["id"], row["status"]) for row in json.loads(shown)]
    comparison.check(
        figures,
        fault.harm(culprit, over) if strikes else None,
        listed=listed,
        published=not strikes or (bool(new) and fault.leaves_all_up_to_date(code, is_complete=is_complete)),
    )
    figures.faults += strikes
    if not figures.is_clean():
        what += f"\n{started.text()[-4000:]}"
    return what if strikes else f"{what}; it had ended before"


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


def _complete(lab: Laboratory, comparison: Comparison, figures: Figures, undisturbed: Laboratory) -> None:
    """Resume without a fault: the sweep is then what it would have been without any."""
    lab.run("--resume", f"--archive={comparison.ledger.root}").exits(0)
    comparison.check(figures, published=True)
    found = comparison.ledger.sweep()
    assert found is not None
    other = SweepFolder.open(undisturbed.sweep())
    assert [entry.id for entry in found.entries] == [entry.id for entry in other.entries]
    for mine, wanted in zip(found.entries, other.entries, strict=True):
        record, reference = RunRecord(found.path / mine.folder), RunRecord(other.path / wanted.folder)
        assert (record.status, record.key, record.seed) == ("done", reference.key, reference.seed)
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
    """A copy of the undisturbed sweep, to tamper with."""
    shutil.copytree(undisturbed.path / "results", lab.path / "results")
    shutil.copytree(undisturbed.side, lab.side, dirs_exist_ok=True)
    ledger = Ledger(lab.side, lab.path / "results")
    found = _compared(ledger)
    assert found.is_clean(), found.findings
    assert found.records > RUNS * STEPS
    return ledger


def _compared(
    ledger: Ledger, harm: Harm | None = None, *, listed: list[tuple[str, str]] | None = None
) -> Figures:
    figures = Figures()
    Comparison(ledger).check(figures, harm, listed=listed, published=True)
    return figures


def _folder(ledger: Ledger, x: int) -> Path:
    sweep = ledger.sweep()
    assert sweep is not None
    return sweep.path / sweep.entries[x].folder


def _set_status(ledger: Ledger, x: int, status: str) -> None:
    file = _folder(ledger, x) / "experiment_meta.json"
    meta = json.loads(file.read_bytes())
    meta["status"] = status
    if status == "running":
        meta["stop"] = meta["duration"] = None
    file.write_text(json.dumps(meta), encoding="utf-8")


def _forget(ledger: Ledger, x: int, *, but: tuple[str, ...] = ()) -> None:
    """Take what a run acknowledged out of the books, `but` some kinds of lines."""
    for book in ledger.side.glob("*.book"):
        lines = [line for line in book.read_bytes().splitlines(True) if _is_kept(json.loads(line), x, but)]
        book.write_bytes(b"".join(lines))


def _is_kept(line: list[object], x: int, but: tuple[str, ...]) -> bool:
    return line[0] != x or line[2] in but


def test_the_comparison_notices_a_lost_record(recorded: Ledger) -> None:
    journal = _folder(recorded, 2) / "experiment_journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"n":"value","s":17' not in line.replace(b" ", b"")]
    assert len(kept) == len(lines) - 1
    journal.write_bytes(b"".join(kept))
    figures = _compared(recorded)
    assert figures.lost == 1
    assert "value 17" in figures.findings[0]


def test_the_comparison_notices_a_torn_value(recorded: Ledger) -> None:
    file = _folder(recorded, 3) / "experiment_data.json"
    content = json.loads(file.read_bytes())
    content["at"]["9"] = [0.5, 9]
    content["more"] = 1
    file.write_text(json.dumps(content), encoding="utf-8")
    figures = _compared(recorded)
    assert figures.torn == 2
    assert "at 9" in "\n".join(figures.findings)
    assert "the value more, which nobody recorded" in "\n".join(figures.findings)


def test_the_comparison_notices_a_false_status(recorded: Ledger) -> None:
    _forget(recorded, 4, but=("began", "value", "field", "at", "file", "step", "array"))
    _set_status(recorded, 5, "failed")
    figures = _compared(recorded, Harm(frozenset({"crashed"}), 1))
    text = "\n".join(figures.findings)
    assert "run 4, attempt 0: done, but its function did not end" in text
    assert "run 5, attempt 0: failed, which is none of ['crashed']" in text
    assert "run 5, attempt 0 is done, the folder says failed" in text
    assert "x=5: the commit log says done, the folder failed" in text
    assert "x=5: the trajectory says done, the folder failed" in text
    assert figures.false == 5


def test_the_comparison_notices_a_run_that_acknowledged_nothing(recorded: Ledger) -> None:
    _forget(recorded, 4)
    figures = _compared(recorded)
    text = "\n".join(figures.findings)
    assert "run 4, attempt 0: done, but its function did not end" in text
    assert "run 4, attempt 0: it has value 0, which nobody recorded" in text
    assert figures.torn > STEPS
    _set_status(recorded, 4, "running")  # and everything else says done
    text = "\n".join(_compared(recorded).findings)
    assert "run 4, attempt 0: crashed, which is none of []" in text
    assert "x=4: the commit log says done, the folder crashed" in text


def test_the_comparison_notices_what_a_list_makes_up_or_leaves_out(recorded: Ledger) -> None:
    right = [(f"x={x}", "done") for x in range(RUNS)]
    assert _compared(recorded, listed=right).is_clean()
    made_up = [("x=97", "done"), ("x=98", "running"), ("x=99", "pending")]
    assert _compared(recorded, listed=right + made_up).false == 3
    assert _compared(recorded, listed=right[1:]).false == 1
    assert _compared(recorded, listed=[*right, right[0]]).false == 1


def test_the_comparison_notices_harm_that_no_fault_has_done(recorded: Ledger) -> None:
    for x in range(RUNS):
        _set_status(recorded, x, "running")
    shutil.rmtree(next(recorded.root.rglob("journal")))
    next(recorded.root.rglob("trajectory.h5")).unlink()
    crashed, figures = frozenset({"crashed"}), Figures()
    Comparison(recorded).check(figures, Harm(crashed, 1))
    text = "\n".join(figures.findings)
    assert "run 0, attempt 0: crashed, though nothing happened to it" in text
    assert "run 7, attempt 0" not in text  # the last one of the process, which was killed perhaps
    assert "8 runs came to harm, which should have been 1 at most" in text
    assert figures.false == 8
    figures = Figures()
    over = frozenset((x, 0) for x in range(6))
    Comparison(recorded).check(figures, Harm(crashed, RUNS, over=over, lasts=True))
    assert figures.false == 6
    figures = Figures()
    Comparison(recorded).check(figures, Harm(crashed, RUNS, culprit=3))  # which did nothing to itself
    assert figures.false == RUNS


def test_the_comparison_notices_an_earlier_attempt_that_changes_or_goes(recorded: Ledger) -> None:
    comparison, figures = Comparison(recorded), Figures()
    comparison.check(figures)
    _set_status(recorded, 5, "failed")
    (_folder(recorded, 6) / "experiment_meta.json").unlink()
    comparison.check(figures, Harm(frozenset({"failed"}), RUNS, lasts=True))
    text = "\n".join(figures.findings)
    assert "run 5, attempt 0: failed, and was done" in text
    assert "run 6, attempt 0: no record of its" in text


@pytest.mark.parametrize(
    ("name", "code", "has_begun", "is_complete", "may"),
    [
        ("SIGTERM", 0, True, False, False),
        ("SIGTERM", 0, True, True, True),
        ("SIGTERM", -15, True, False, False),
        ("SIGTERM", -15, False, False, True),
        ("SIGTERM", 2, True, False, True),
        ("os._exit", 0, True, False, False),
        ("kill -9 of a worker", 0, True, False, False),
        ("kill -9 of a worker", 0, True, True, True),
        ("kill -9", -15, False, False, False),
    ],
)
def test_an_exit_code_is_held_against_what_was_left_undone(
    name: str, code: int, has_begun: bool, is_complete: bool, may: bool
) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)
    assert fault.may_end_with(code, has_begun=has_begun, is_complete=is_complete) is may


def test_a_fault_that_no_run_came_to_is_none(lab: Laboratory) -> None:
    lab.write("exp_ledger.py", EXPERIMENT.replace('"ORDER"', '"ANOTHER"'))
    comparison, figures = Comparison(Ledger(lab.side, lab.path / "results")), Figures()
    fault = next(fault for fault in FAULTS if fault.code)
    told = _suffer(lab, comparison, fault, random.Random(0), figures)
    assert "it had ended before" in told
    assert (figures.faults, figures.findings) == (0, [])


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
    lab.run(ORDER=json.dumps({"x": 2, "step": 25, "code": "os._exit(7)"})).exits(7)
    ledger = Ledger(lab.side, lab.path / "results")
    assert ledger.attempts()[2, 0].struck
    figures = Figures()
    Comparison(ledger).check(figures, Harm(frozenset({"crashed"}), 1, culprit=2))
    assert figures.lost > 0
    assert figures.false == 0
