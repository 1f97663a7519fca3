"""SIGINT and SIGTERM end active runs as ``interrupted``, with all that they recorded, and pytest with 2."""

from __future__ import annotations

import signal

import pytest

from tests.durability.laboratory import Laboratory

EXPERIMENT = """
import json, os, time
from expedition import experiment

@experiment.parametrize("x", [0, 1, 2, 3])
def exp_wait(e, x: int = 0):
    e["begun"] = {"x": x}
    e.commit("here.txt", "artifact")
    file = e.open("open.txt", "w")
    file.write("not closed")
    print("waiting", x)
    for i in range(1_000_000):
        e.track("i", i)
        if i == 10:
            open(os.path.join(os.environ["SIDE"], f"waits-{x}"), "w").close()
        time.sleep(0.002)
"""


@pytest.mark.parametrize(
    ("number", "workers", "group"),
    [
        (signal.SIGINT, 0, False),
        (signal.SIGTERM, 0, False),
        (signal.SIGINT, 2, False),
        (signal.SIGINT, 2, True),
        (signal.SIGTERM, 2, True),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value),
)
def test_active_runs_are_interrupted(
    lab: Laboratory, number: signal.Signals, workers: int, group: bool
) -> None:
    lab.write("exp_wait.py", EXPERIMENT)
    started = lab.start("-n", workers) if workers else lab.start()
    wanted = max(workers, 1)
    started.wait_for(lambda: len(list(lab.side.glob("waits-*"))) == wanted)
    active = sorted(int(file.name[-1]) for file in lab.side.glob("waits-*"))
    started.signal(number, group=group)
    result = started.end().exits(2)
    assert "INTERNALERROR" not in result.text
    assert "signals.py:" not in result.text  # pytest names the line of the run, or its own
    assert lab.statuses() == {f"x={x}": "interrupted" for x in active}
    for x in active:
        record = lab.records()[f"x={x}"]
        assert record.error is not None
        assert record.error.type == "KeyboardInterrupt"
        assert record.stopped is not None
        assert record.data == {"begun": {"x": x}}
        values = record.series["i"].value.tolist()
        assert values == list(range(len(values)))
        assert len(values) > 10
        assert record.artifacts["open.txt"].read_text(encoding="utf-8") == "not closed"
        assert {entry["name"] for entry in record.artifact_list} == {"here.txt", "open.txt"}
        assert f"waiting {x}" in record.log
    commits = lab.commits()
    assert {name: line["status"] for name, line in commits.items()} == lab.statuses()
    assert (lab.sweep() / "trajectory.h5").is_file()
    journal = sorted(file.suffix for file in (lab.sweep() / "journal").iterdir())
    assert set(journal) == {".jsonl"}  # locks were given back
    assert not started.alive()


MOMENTS = {
    # What the experiment file does when it is imported, so that the signal comes at one exact moment.
    "start": """
        import expedition.recording.run as target
        before = target.write_meta
        def patched(identity, end, **more):
            before(identity, end, **more)
            if identity.id == "x=1" and end.status == "running":
                os.kill(os.getpid(), signal.NUMBER)
        target.write_meta = patched
        """,
    "between-phases": """
        import _pytest.runner as target
        before = target.call_and_report
        def patched(item, when, *more, **options):
            if when == "call" and "x=1" in item.name:
                os.kill(os.getpid(), signal.NUMBER)
            return before(item, when, *more, **options)
        target.call_and_report = patched
        """,
    "redirect": """
        from expedition.recording.output import Output as target
        before = target.redirect
        def patched(self):
            if "x=1" in self.path:
                os.kill(os.getpid(), signal.NUMBER)
            before(self)
        target.redirect = patched
        """,
    "finish": """
        import expedition.recording.run as target
        before = target.write_meta
        def patched(identity, end, **more):
            if identity.id == "x=1" and end.status != "running":
                os.kill(os.getpid(), signal.NUMBER)
            before(identity, end, **more)
        target.write_meta = patched
        """,
}


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("start", "SIGTERM"),
        ("between-phases", "SIGINT"),
        ("redirect", "SIGTERM"),
        ("finish", "SIGINT"),
        ("finish", "SIGTERM"),
    ],
)
def test_a_signal_at_an_awkward_moment_leaves_a_complete_record(
    lab: Laboratory, moment: str, number: str
) -> None:
    patch = MOMENTS[moment].replace("NUMBER", number)
    lab.write("conftest.py", "import os, signal\n" + "\n".join(line[8:] for line in patch.splitlines()))
    lab.write(
        "exp_moment.py",
        """
        from expedition import experiment

        @experiment.parametrize("x", [0, 1, 2])
        def exp_moment(e, x: int = 0):
            print("in", x)
            e["x"] = x
        """,
    )
    result = lab.run().exits(2)
    assert "INTERNALERROR" not in result.text
    assert (
        "exp_moment" in result.text.splitlines()[-1] or "sweep:" in result.text
    )  # the terminal has its output
    records = lab.records()
    assert records["x=0"].status == "done"
    assert records["x=0"].data == {"x": 0}
    assert "x=2" not in records
    record = records["x=1"]
    if moment == "finish":  # the run had ended: the signal waits until its record is whole
        assert record.status == "done"
        assert record.data == {"x": 1}
    else:
        assert record.status == "interrupted"
        assert record.data == {}
    assert record.stopped is not None
    assert lab.commits()["x=1"]["status"] == record.status
