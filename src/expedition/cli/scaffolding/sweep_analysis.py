"""The cells of a script or notebook that reads a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from expedition.archive.notebook_format import code_cell, notebook_text
from expedition.cli.scaffolding.literals import docstring, python_literal

_OPEN = Template("""\
from pathlib import Path

import matplotlib.pyplot as plt

from expedition import $names

HERE = $here
$sweep
traj = Trajectory.open(SWEEP)
$show""")

_LAST = Template("""\
trajectories = [folder / "trajectory.h5" for folder in Archive(HERE / $archive).sweep_folders()]
written = [path for path in trajectories if path.is_file()]
SWEEP = max(written, key=lambda path: path.stat().st_mtime).parent  # the last one""")

_FRAME = Template("""\
# A row for each run: parameters, status, results
frame = traj.to_pandas()
$show""")

_AGGREGATE = Template("""\
# Mean and confidence interval at each point, over the replicates
table = traj.aggregate(over="replicate")
$show""")

_PLOT = Template("""\
# The results at each point
labels = [", ".join(f"{name}={value}" for name, value in point.items()) for point in table.points]
figure, axes = plt.subplots(layout="constrained")
for name, estimates in table.items():
    axes.errorbar(
        range(len(labels)), estimates.mean, yerr=estimates.half_width, fmt="o", capsize=3, label=name
    )
if len(labels) <= 20:
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
if len(table):
    axes.legend()
$show""")


def analysis_script(name: str, *, archive: str, sweep: str) -> str:
    """Return a script that opens a sweep, shows its table and an aggregate, and saves a plot.

    `archive` and `sweep` (empty: the last one of the archive) are relative to the folder of the script.
    """
    cells = _cells(
        "Path(__file__).resolve().parent",
        archive,
        sweep,
        ("print(traj)", "print(frame)", "print(table)", f'figure.savefig(HERE / "{name}.png")'),
    )
    return f"{docstring('Reads a sweep.')}\n\n" + "\n\n".join(f"# %%\n{cell}" for cell in cells) + "\n"


def analysis_notebook(*, archive: str, sweep: str) -> str:
    """Return a notebook, as JSON, that does what `analysis_script` does, in the folder in which it is."""
    cells = _cells("Path()", archive, sweep, ("traj", "frame", "table", "figure"))
    return notebook_text(code_cell(cell) for cell in cells)


def _cells(here: str, archive: str, sweep: str, shown: Sequence[str]) -> list[str]:
    names, chosen = "Trajectory", f"SWEEP = HERE / {python_literal(sweep)}"
    if not sweep:
        names, chosen = "Archive, Trajectory", _LAST.substitute(archive=python_literal(archive))
    cells = (_OPEN, _FRAME, _AGGREGATE, _PLOT)
    return [
        cell.substitute(names=names, here=here, sweep=chosen, show=show)
        for cell, show in zip(cells, shown, strict=True)
    ]
