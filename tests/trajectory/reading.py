"""Reads all that a trajectory file says, by the public interface: ``python -m tests.trajectory.reading``.

In a process of its own, since a damaged file must not crash the reader, and nobody would learn of it.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from expedition import Trajectory
from expedition.errors import DamagedError, ExpeditionError

MEMORY = 1 << 30
"""Bytes that the process may have; enough for pandas and h5py, not for what a bad file claims."""


def read_everything(path: Path) -> list[str]:
    """Read every column, series, run and table; return what went wrong in any other way than by our own errors.

    An error of damage must name the file, or one of a run folder, and say what to do.
    """
    problems: list[str] = []

    def attempt(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except DamagedError as error:
            if str(path.parent) not in str(error):
                problems.append(f"{error!r} names no file")
        except ExpeditionError:
            pass
        except Exception:
            problems.append(traceback.format_exc()[-600:])
        return None

    traj = attempt(lambda: Trajectory.open(path))
    if traj is None:
        return problems
    with traj:
        for column in columns(traj, attempt):
            attempt(lambda column=column: column.values)  # type: ignore[misc]
            attempt(lambda column=column: column.tolist())  # type: ignore[misc]
            attempt(lambda column=column: (column.states, column.dtype, column[0], column[-1:]))  # type: ignore[misc]
        for name in traj.runs:
            attempt(lambda name=name: traj.runs[name].tolist())  # type: ignore[misc]
        for number in range(min(len(traj), 4)):
            run = attempt(lambda number=number: traj[number])  # type: ignore[misc]
            for branch in ("params", "res", "dpar", "conf", "series"):
                attempt(lambda run=run, branch=branch: getattr(run, branch).to_dict())  # type: ignore[misc]
            attempt(lambda run=run: (run.id, run.start, run.duration, run.seed, run.folder))  # type: ignore[misc]
        attempt(lambda: traj.find("status == 'done' and alpha < 1"))
        attempt(lambda: traj.unique_points())
        attempt(lambda: traj.to_pandas())
        attempt(lambda: repr(traj))
    return problems


def columns(traj: Trajectory, attempt: Callable[[Callable[[], Any]], Any]) -> Iterator[Any]:
    """Yield every column and series."""
    waiting = [attempt(lambda name=name: traj[name]) for name in BRANCHES]  # type: ignore[misc]
    while waiting:
        node = waiting.pop()
        if hasattr(node, "tolist"):
            yield node
        elif node is not None:
            waiting += [attempt(lambda node=node, name=name: node[name]) for name in node]  # type: ignore[misc]


BRANCHES = ("parameters", "derived_parameters", "results", "config", "series")


def spoilt(content: bytes, seed: int, places: list[int]) -> bytes:
    """Return `content` with a few bytes changed at random ones of `places`."""
    generator = random.Random(seed)
    data = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8))):
        place = generator.choice(places)
        data[place : place + 1] = generator.choice(
            (bytes([data[place] ^ 1 << generator.randrange(8)]), b"\0", b"\xff", generator.randbytes(1))
        )
    return bytes(data)


def main() -> None:
    """Read the files that standard input describes; print what is wrong with the readings, as JSON."""
    order = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    target = Path(order["target"])
    content = Path(order["file"]).read_bytes()
    found = {}
    for seed in order["seeds"]:
        target.write_bytes(spoilt(content, seed, order["places"]) if order["places"] else content)
        print(seed, file=sys.stderr, flush=True)
        found[seed] = read_everything(target)
    print(json.dumps({seed: problems for seed, problems in found.items() if problems}))


if __name__ == "__main__":
    main()
