"""Runs at rest: sweep folders, records, selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.lazily import lazily

if TYPE_CHECKING:
    from expedition.archive.analysis import experiment_code, rerun_analysis
    from expedition.archive.archive import Archive
    from expedition.archive.notebook import analysis_notebook
    from expedition.archive.record import RunRecord

__all__ = ["Archive", "RunRecord", "analysis_notebook", "experiment_code", "rerun_analysis"]

_HOMES = {
    "Archive": "expedition.archive.archive",
    "RunRecord": "expedition.archive.record",
    "analysis_notebook": "expedition.archive.notebook",
    "experiment_code": "expedition.archive.analysis",
    "rerun_analysis": "expedition.archive.analysis",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
