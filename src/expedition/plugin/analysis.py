"""Analyses of runs that have ended: called in the process of the run, and what failed shown at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from expedition.archive.analysis import SCRIPT, call_analyses, variables_of
from expedition.archive.record import RunRecord
from expedition.authoring.analysis import Analysis
from expedition.authoring.lineage import Lineage
from expedition.errors import ExpeditionError
from expedition.plugin.run_making import run_log
from expedition.plugin.signals import Signals
from expedition.recording import Run, layout
from expedition.recording.files import replace_file
from expedition.recording.masking import Mask

Failure = Mapping[str, Any]


class RunAnalyses:
    """Calls the analyses of runs in this process.

    What they print goes to the end of the run's log. `capture` is how pytest captures output.
    """

    def __init__(self, capture: str, signals: Signals) -> None:
        self._capture = capture
        self._signals = signals

    def write_script(self, run: Run) -> None:
        """Write the ``analysis.py`` of a run folder; that of a sweep folder, which may be the same, has its own."""
        if run.path != run.sweep_path:
            replace_file(run.path / layout.ANALYSIS_FILE, SCRIPT.encode())

    def call(
        self, run: Run, lineage: Lineage, analyses: Iterable[Analysis], mask: Mask, secrets: Iterable[str]
    ) -> list[dict[str, Any]]:
        """Call the analyses of a run whose record is complete; return what failed, as plain values.

        `mask` hides the values of the parameters `secrets`, which the record does not have.
        """
        output = run_log(run.path, self._capture, mask)
        try:
            record = RunRecord(run.path, sweep=run.sweep_path)
            variables = variables_of(record)
            variables.update({name: run.params[name] for name in secrets if name in variables})
            with self._signals:
                output.start()
                output.redirect()
            failures = call_analyses(
                record,
                [analysis.function for analysis in analyses],
                [source.module for source in lineage.sources],
                variables=variables,
                told=output.write_line,
                passing=(KeyboardInterrupt, pytest.exit.Exception),
            )
        except (OSError, ExpeditionError) as error:
            name = ", ".join(analysis.function.__name__ for analysis in analyses)
            text = f"{type(error).__name__}: {error}"
            return [{"name": name, "file": str(lineage.own.source.path), "line": 0, "error": text}]
        finally:
            with self._signals:
                output.stop()
        # The traceback is in the log.
        return [{**asdict(f), "traceback": "", "error": mask.text(f.error)} for f in failures]


class AnalysisFailures:
    """The failures of all runs of an invocation, those of one place counted together."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, int], list[str]] = {}
        self._errors: dict[tuple[str, str, int], str] = {}

    def add(self, run: str, failures: Iterable[Failure]) -> None:
        """Take note of what failed after a run."""
        for failure in failures:
            place = failure["name"], failure["file"], failure["line"]
            self._runs.setdefault(place, []).append(run)
            self._errors.setdefault(place, failure["error"])

    def lines(self, base: Path) -> Iterator[str]:
        """Yield a line for each place where analyses failed; paths are relative to `base` where that is shorter."""
        for (name, file, line), runs in self._runs.items():
            path = Path(file)
            shown = path.relative_to(base) if path.is_relative_to(base) else path
            where = f"after {runs[0]}" if len(runs) == 1 else f"after {len(runs)} runs, first {runs[0]}"
            yield f"analysis {name} failed at {shown}:{line} {where}: {self._errors[name, file, line]}"
