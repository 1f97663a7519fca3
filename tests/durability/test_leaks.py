"""Hundreds of runs in one process leave it as a few did; what a run prints does not go through memory."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.durability.laboratory import PATIENCE, Laboratory
from tests.thoroughness import thorough

EXPERIMENT = """
import gc, json, logging, os, sys, threading, warnings, random
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from pathlib import Path
from expedition import experiment

SIZE: int = 3
LABEL: str = "a"

def state():
    gc.collect()
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": sorted(t.name for t in threading.enumerate()),
        "handlers": [type(h).__name__ for h in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "figures": len(plt.get_fignums()),
        "globals": sorted(n for n in globals() if not n.startswith("@")),
        "values": [SIZE, LABEL],
        "streams": [type(s).__name__ for s in (sys.stdout, sys.stderr)],
        "showwarning": repr(warnings.showwarning.__qualname__),
        "filters": len(warnings.filters),
        "environment": sorted(n for n in os.environ if n != "PYTEST_CURRENT_TEST"),
        "cwd": os.getcwd(),
        "modules": len([m for m in sys.modules if "exp_many" in m]),
    }

@experiment.parametrize("SIZE", list(range(100, 401)))
def exp_many(e):
    index = e.index
    if index in (30, 300):
        Path(os.environ["SIDE"], f"state-{index}").write_text(json.dumps(state()))
    print("run", index)
    logging.getLogger("mine").warning("w")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd")
    plt.figure()
    np.random.seed(1); random.seed(1)
    e["x"] = np.arange(200) + index
    for i in range(3):
        e.track("s", i)
        e.track("a", np.zeros(200))
    with e.open("f.txt", "w") as file:
        file.write("x")
    if index % 3 == 0:
        raise ValueError(index)
"""


@thorough  # every day there is the like in test_hygiene.py
def test_three_hundred_runs_leave_the_process_as_thirty_did(lab: Laboratory) -> None:
    lab.write("exp_many.py", EXPERIMENT)
    lab.run("--tb=no", "-q").exits(1)
    early = json.loads((lab.side / "state-30").read_text(encoding="utf-8"))
    late = json.loads((lab.side / "state-300").read_text(encoding="utf-8"))
    assert early.pop("values") == [130, "a"]
    assert late.pop("values") == [400, "a"]
    assert early == late
    statuses = list(lab.statuses().values())
    assert (statuses.count("done"), statuses.count("failed")) == (200, 101)


@thorough  # the same
def test_fifty_megabytes_of_output_are_in_the_log_and_nowhere_else(lab: Laboratory) -> None:
    lab.write(
        "exp_loud.py",
        """
        import os, resource
        from pathlib import Path
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_loud(e, x: int = 0):
            print("the first line")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            line = "y" * 999
            for i in range(50_000):
                print(line)
            print("the last line")
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            e["grown"] = (after - before) // 1024
            assert x == 0, "so that there is a report"
        """,
    )
    result = lab.run().exits(1)
    assert "the first line" in result.text
    assert len(result.text) < 64 * 1024 + 8 * 1024
    for record in lab.records().values():
        assert record.data["grown"] < 20
        assert (record.path / "experiment_out.log").stat().st_size > 50_000_000
        assert record.log.startswith("the first line")
        assert record.log.endswith("the last line\n")


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_what_a_run_prints_after_a_breakpoint_is_in_its_log(lab: Laboratory, capture: str) -> None:
    lab.write(
        "exp_stop.py",
        """
        import os
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_stop(e, x: int = 0):
            print("before", x)
            breakpoint()
            print("after", x)
            os.write(1, b"straight\\n")
        """,
    )
    done = subprocess.run(
        lab.command("--experiments", ".", f"--capture={capture}"),
        cwd=lab.path,
        env=lab.environment(),
        input="c\nc\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    for name, record in lab.records().items():
        lines = record.log.splitlines()
        assert lines[0] == f"before {name[-1]}"
        assert f"after {name[-1]}" in lines
        assert ("straight" in lines) == (capture == "fd")
