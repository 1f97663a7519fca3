"""Calls the analyses of an experiment with the record of a run: when it has ended, and again later."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.archive.code import import_code
from expedition.archive.record import RunRecord
from expedition.authoring.holding import HeldVariables
from expedition.errors import ExpeditionError
from expedition.recording import outcomes
from expedition.recording.figures import OpenFigures
from expedition.recording.seeds import GlobalRandomState

SCRIPT = '''"""Calls the functions marked @experiment.analysis of this run again."""
# python analysis.py            (needs pytest-expedition; their code is in source/ of the sweep folder)

from pathlib import Path

from expedition.archive import rerun_analysis

if __name__ == "__main__":
    raise SystemExit(rerun_analysis(Path(__file__).parent))
'''
"""The text of ``analysis.py`` in the run folders of experiments with analyses."""

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")


@dataclass(frozen=True)
class AnalysisFailure:
    """An analysis that raised: its name, the file and line where it did, the error, and the traceback as text."""

    name: str
    file: str
    line: int
    error: str
    traceback: str


def call_analyses(
    record: RunRecord,
    functions: Iterable[Callable[[RunRecord], object]],
    namespaces: Iterable[dict[str, Any]],
    *,
    variables: Mapping[str, Any],
    told: Callable[[str], None],
    passing: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
) -> list[AnalysisFailure]:
    """Call every function with the record; return what failed. The others get their turn.

    Meanwhile the modules in `namespaces` hold `variables`, and the global random state is seeded as for the run;
    both are put back, and figures that were opened are closed. `told` gets a line about each call. Exceptions in
    `passing` go on.
    """
    held = HeldVariables(namespaces)
    random, figures = GlobalRandomState(), OpenFigures()
    failures: list[AnalysisFailure] = []
    figures.remember()
    random.seed(record.seed)
    try:
        held.hold(variables)
        for function in functions:
            code = function.__code__
            name, file = code.co_name, code.co_filename
            told(f"analysis {name} ({Path(file).name})")
            try:
                function(record)
            except passing:
                raise
            except BaseException as error:
                failure = _describe(error, name, file, code.co_firstlineno)
                told(f"analysis {name} failed: {failure.error}\n{failure.traceback}")
                failures.append(failure)
    finally:
        held.restore()
        random.restore()
        figures.close_new()
    return failures


def variables_of(record: RunRecord) -> dict[str, Any]:
    """Return the values that the UPPERCASE variables of the files of its experiment had in a run."""
    return {name: value for name, value in record.params.items() if _VARIABLE.match(name)}


def references_of(record: RunRecord) -> list[tuple[str, str]]:
    """Return file (below the root folder) and name of the analyses of a run, in the order of their calls."""
    pairs = [str(text).rpartition("::") for text in record.meta["experiment"].get("analysis", ())]
    return [(file, name) for file, _, name in pairs]


def experiment_code(record: RunRecord, file: str) -> dict[str, Any]:
    """Return what a file of the code in the sweep folder defines, its UPPERCASE variables with the values of a run.

    `file` is its path below the root folder. The file is executed. Raises as importing it does.
    """
    module = vars(import_code(record, file))
    values = variables_of(record)
    module.update(values)  # its functions look there
    return {name: value for name, value in module.items() if not name.startswith("__")}


def rerun_analysis(folder: Path | str) -> int:
    """Call the analyses of the run in `folder` again, from the code in its sweep folder; return an exit status.

    It prints what it calls, and a traceback of what fails; the status is 1 then.
    """
    own = Path(folder).resolve()
    # The script stands among the artifacts of the run, whose names must not hide those of modules.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != own]
    try:
        record = RunRecord(own)
        functions, namespaces = [], []
        if record.status != outcomes.DONE:
            print(f"the run is {record.status}: its record may not have what they look for")
        for file, name in references_of(record):
            module = vars(import_code(record, file))
            if name not in module:
                raise ExpeditionError(f"{file} has no function {name}")
            functions.append(module[name])
            namespaces.append(module)
    except ExpeditionError as error:
        print(f"analysis.py: {error}", file=sys.stderr)
        return 1
    unlike = {id(namespace): namespace for namespace in namespaces}
    failures = call_analyses(record, functions, unlike.values(), variables=variables_of(record), told=_show)
    return 1 if failures else 0


def _show(text: str) -> None:
    print(text, file=sys.stderr if "\n" in text else sys.stdout, flush=True)


def _describe(error: BaseException, name: str, file: str, line: int) -> AnalysisFailure:
    own = trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    while own is not None and own.tb_frame.f_code.co_filename != file:
        own = own.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, own or error.__traceback__)).rstrip()
        message = f"{type(error).__name__}: {error}".rstrip(": ")
    except Exception as second:
        text = message = f"{type(error).__name__} (it cannot be shown: {type(second).__name__})"
    return AnalysisFailure(name, file, line, message, text)
