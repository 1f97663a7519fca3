"""What an experiment file says: marker, parameters, sweeps, identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.lazily import lazily

if TYPE_CHECKING:
    from expedition.authoring.inherit import INHERIT
    from expedition.authoring.marker import experiment
    from expedition.authoring.secrets import Secret

__all__ = ["INHERIT", "Secret", "experiment"]

_HOMES = {
    "INHERIT": "expedition.authoring.inherit",
    "Secret": "expedition.authoring.secrets",
    "experiment": "expedition.authoring.marker",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
