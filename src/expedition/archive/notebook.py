"""The analyses of a run as a notebook."""

from __future__ import annotations

import ast
from pathlib import Path

from expedition.archive.analysis import references_of
from expedition.archive.code import code_file
from expedition.archive.notebook_format import code_cell, notebook_text, text_cell
from expedition.archive.record import RunRecord
from expedition.errors import ExpeditionError, OutputExistsError
from expedition.recording.files import replace_file

NOTEBOOK_FILE = "analysis.ipynb"


def analysis_notebook(record: RunRecord, folder: Path | str = ".", *, overwrite: bool = False) -> Path:
    """Write ``analysis.ipynb`` into `folder`, which is made if need be; return its path.

    The first cell opens the record. Then come the functions marked ``@experiment.analysis``, each as its source,
    so that it can be worked on, and a call. What else their files define is imported from the sweep folder.

    Raises `OutputExistsError` for a notebook that is there, unless `overwrite`, and `RecordNotFoundError` when
    the sweep folder does not have the code.
    """
    target = Path(folder) / NOTEBOOK_FILE
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; give another folder, or overwrite=True")
    cells = [
        text_cell(f"# {record.experiment}: {record.id}"),
        code_cell(
            f"from expedition import RunRecord\n\nrecord = RunRecord({str(record.path.resolve())!r})\n"
            f"print(record)\nrecord.params"
        ),
    ]
    opened = ""
    for file, name in references_of(record):
        if file != opened:
            opened = file
            cells.append(
                code_cell(
                    "from expedition.archive import experiment_code\n\n"
                    f"# What {file} defines, its UPPERCASE variables with the values of the run\n"
                    f"globals().update(experiment_code(record, {file!r}))"
                )
            )
        cells += [code_cell(_source(code_file(record, file), name)), code_cell(f"{name}(record)")]
    if not opened:
        cells.append(code_cell("record.data"))
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, notebook_text(cells).encode())
    return target


def _source(path: Path, name: str) -> str:
    """The text of a function without our decorators: the notebook is no experiment file."""
    text = path.read_text(encoding="utf-8-sig")
    lines = text.split("\n")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            ours = [d for d in node.decorator_list if ast.unparse(d).split(".")[0] == "experiment"]
            hidden = {line for d in ours for line in range(d.lineno, (d.end_lineno or d.lineno) + 1)}
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            kept = [n for n in range(first, (node.end_lineno or first) + 1) if n not in hidden]
            return "\n".join(lines[number - 1] for number in kept)
    raise ExpeditionError(f"{path} has no function {name} at its top level")
