"""Runs at rest: sweep folders, records, selection."""

from expedition.archive.analysis import experiment_code, rerun_analysis
from expedition.archive.archive import Archive
from expedition.archive.notebook import analysis_notebook
from expedition.archive.record import RunRecord

__all__ = ["Archive", "RunRecord", "analysis_notebook", "experiment_code", "rerun_analysis"]
