"""Names of the files of a run folder and of a sweep folder: the one place that spells them."""

from __future__ import annotations

META_FILE = "experiment_meta.json"
DATA_FILE = "experiment_data.json"
JOURNAL_FILE = "experiment_journal.jsonl"
LOG_FILE = "experiment_out.log"
DATA_FOLDER = "data"
PLOTS_FOLDER = "plots"
SERIES_FILE = "data/series.bin"
ATTEMPTS_FOLDER = "attempts"
CHILDREN_FOLDER = "children"
CHECKPOINT_FOLDER = "checkpoint"

SWEEP_FILE = "sweep.json"
INVOCATIONS_FILE = "invocations.jsonl"
EXPANSIONS_FILE = "expansions.jsonl"
NOTES_FILE = "notes.jsonl"
SUMMARY_FOLDER = "summary"
DEBUG_FOLDER = "debug"
TRAJECTORY_FILE = "trajectory.h5"
SOURCE_FOLDER = "source"
CODE_FILES = frozenset({"experiment_code.py", "experiment_code.yml", "experiment_code.yaml"})
"""Copies of the file of an experiment beside its only run, by its suffix; every attempt has one of its own."""
DIFF_FILE = "git.diff"
ANALYSIS_FILE = "analysis.py"
JOURNALS_FOLDER = "journal"
INVOCATION_LOCK = "invocation.lock"
"""In the folder of the journals: held while an invocation works on the sweep."""

IGNORE_FILE = ".gitignore"
IGNORE_TEXT = b"# Made by Expedition: results do not belong into git.\n*\n"
"""What stands in a new archive root, which readers know it by."""

RUN_FORMAT = "expedition-run"
SWEEP_FORMAT = "expedition-sweep"
FORMAT_VERSION = "1.2"

# A run whose folder is the sweep folder itself shares it with these; none may be committed or moved.
SWEEP_OWNED = CODE_FILES | frozenset(
    {
        SWEEP_FILE,
        INVOCATIONS_FILE,
        EXPANSIONS_FILE,
        NOTES_FILE,
        SUMMARY_FOLDER,
        TRAJECTORY_FILE,
        SOURCE_FOLDER,
        ANALYSIS_FILE,
        JOURNALS_FOLDER,
        "report.html",
    }
)
RUN_OWNED = frozenset(
    {
        META_FILE,
        DATA_FILE,
        JOURNAL_FILE,
        LOG_FILE,
        DATA_FOLDER,
        PLOTS_FOLDER,
        CHILDREN_FOLDER,
        CHECKPOINT_FOLDER,
    }
)
RESERVED = SWEEP_OWNED | RUN_OWNED | {ATTEMPTS_FOLDER}
