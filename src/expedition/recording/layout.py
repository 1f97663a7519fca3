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
CODE_FILE = "experiment_code.py"
DIFF_FILE = "git.diff"
ANALYSIS_FILE = "analysis.py"
JOURNALS_FOLDER = "journal"

IGNORE_FILE = ".gitignore"
IGNORE_TEXT = b"# Made by Expedition: results do not belong into git.\n*\n"
"""What stands in a new archive root, which readers know it by."""

RUN_FORMAT = "expedition-run"
SWEEP_FORMAT = "expedition-sweep"
FORMAT_VERSION = "1.2"

# A run whose folder is the sweep folder itself shares it with these; none may be committed or moved.
SWEEP_OWNED = frozenset(
    {
        SWEEP_FILE,
        INVOCATIONS_FILE,
        EXPANSIONS_FILE,
        NOTES_FILE,
        SUMMARY_FOLDER,
        TRAJECTORY_FILE,
        SOURCE_FOLDER,
        CODE_FILE,
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
