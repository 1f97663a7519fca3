"""Expedition turns pytest into an experiment harness.

The public names are imported on first use, so that a pytest session which asks for no experiment
pays for none of them. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.lazily import lazily
from expedition.version import __version__

if TYPE_CHECKING:
    from expedition.archive import Archive, RunRecord
    from expedition.authoring import INHERIT, Secret, experiment
    from expedition.errors import ExpeditionError
    from expedition.plugin.running import run
    from expedition.recording import Run
    from expedition.recording.outcomes import RunTimeout
    from expedition.trajectory import Trajectory
    from expedition.values import Codec, Undecoded, register_codec

__all__ = [
    "INHERIT",
    "Archive",
    "Codec",
    "ExpeditionError",
    "Run",
    "RunRecord",
    "RunTimeout",
    "Secret",
    "Trajectory",
    "Undecoded",
    "__version__",
    "experiment",
    "register_codec",
    "run",
]

_HOMES = {
    "INHERIT": "expedition.authoring",
    "Archive": "expedition.archive",
    "Codec": "expedition.values",
    "ExpeditionError": "expedition.errors",
    "Run": "expedition.recording",
    "RunRecord": "expedition.archive",
    "RunTimeout": "expedition.recording.outcomes",
    "Secret": "expedition.authoring",
    "Trajectory": "expedition.trajectory",
    "Undecoded": "expedition.values",
    "experiment": "expedition.authoring",
    "register_codec": "expedition.values",
    "run": "expedition.plugin.running",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
