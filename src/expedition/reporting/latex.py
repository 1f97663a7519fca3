"""Tables in LaTeX, with the rules of booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "µ": r"$\mu$",
}
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"
_PLAIN = re.compile(rf"{_NUMBER}\Z")
_POWER = re.compile(rf"({_NUMBER})e([-+]?[0-9]+)\Z")
_INTERVAL = re.compile(rf"({_NUMBER}) ± ({_NUMBER})( \(n=[0-9]+\))?\Z")
_SCALED = re.compile(rf"\(({_NUMBER}) ± ({_NUMBER})\)e([-+]?[0-9]+)( \(n=[0-9]+\))?\Z")

PREAMBLE = r"% needs \usepackage{booktabs}"


def latex_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    *,
    caption: str = "",
    notes: Sequence[str] = (),
) -> str:
    r"""Return a `tabular` between `\toprule` and `\bottomrule`, in a `table` when it has a caption or notes.

    :param rows: cells as `latex_cell` gives them.
    :param right: per column whether it is aligned to the right.
    """
    lines = [rf"\begin{{tabular}}{{{''.join('r' if flag else 'l' for flag in right)}}}", r"\toprule"]
    lines += [_row([escape(head) for head in heads]), r"\midrule", *map(_row, rows)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if not caption and not notes:
        return "\n".join([PREAMBLE, *lines])
    head = [PREAMBLE, r"\begin{table}", r"\centering"]
    head += [rf"\caption{{{escape(caption)}}}"] if caption else []
    foot = [rf"\par\smallskip\footnotesize {escape(note)}" for note in notes]
    return "\n".join([*head, *lines, *foot, r"\end{table}"])


def latex_cell(text: str, *, numeric: bool, bold: bool = False) -> str:
    """Return a cell; what is `numeric` becomes mathematics, ``0.53 ± 0.02`` for one."""
    inner, n = _mathematics(text) if numeric else (None, "")
    if inner is None:
        return rf"\textbf{{{escape(text)}}}" if bold else escape(text)
    return (rf"$\mathbf{{{inner}}}$" if bold else f"${inner}$") + n


def escape(text: str) -> str:
    """Return a text in which nothing means anything to LaTeX."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _row(cells: Sequence[str]) -> str:
    # A cell that begins with [ would be read as the argument of the \\ before it
    first = cells[0] if cells else ""
    return " & ".join([f"{{}}{first}" if first.startswith("[") else first, *cells[1:]]) + r" \\"


def _mathematics(text: str) -> tuple[str | None, str]:
    if _PLAIN.match(text):
        return text, ""
    if found := _POWER.match(text):
        return rf"{found[1]} \times 10^{{{int(found[2])}}}", ""
    if found := _INTERVAL.match(text):
        return rf"{found[1]} \pm {found[2]}", found[3] or ""
    if found := _SCALED.match(text):
        return rf"({found[1]} \pm {found[2]}) \times 10^{{{int(found[3])}}}", found[4] or ""
    return None, ""
