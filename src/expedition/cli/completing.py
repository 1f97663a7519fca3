"""What the shell offers: runs, experiments and columns of the archive that the command line is about."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

if TYPE_CHECKING:
    from expedition.archive.rows import RunRow

_MOST = 500
"""Candidates that are offered at most: more than that nobody reads, and the shell is to answer at once."""
_BREAKS = "=:"


def complete_runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer what runs are called: ids; once it begins, the short names of tables; keys once two digits are there.

    Also ``EXPERIMENT[ID]``, and ``SWEEP/FOLDER`` where nothing else fits.
    """
    found: dict[str, str] = {}
    folders: dict[str, str] = {}
    for row in _rows(context):
        about = f"{row.experiment}, {row.status}"
        names = [row.id]
        if incomplete:
            names.append(row.reference)
        if len(incomplete) > 1:
            names += [f"{row.experiment}[{row.id}]", row.key]
        for name in names:
            if name.startswith(incomplete):
                found.setdefault(name, about)
        if incomplete and row.sweep_path is not None and row.path != row.sweep_path:
            name = f"{row.sweep}/{row.path.relative_to(row.sweep_path).as_posix()}"
            if name.startswith(incomplete):
                folders.setdefault(name, about)
        if len(found) >= _MOST:
            break
    return [CompletionItem(name, help=about) for name, about in (found or folders).items()][:_MOST]


def complete_deleted(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer what the trash holds: deletions, and the folders of their runs and sweeps."""
    found: list[str] = []
    with contextlib.suppress(Exception):
        from expedition.archive.trash import Trash

        trash = Trash(_archive_of(context))
        for entry in trash.entries():
            found.append(entry)
            found += [item.place for item in trash.content(entry)]
    return [CompletionItem(name) for name in found if name.startswith(incomplete)][:_MOST]


def complete_columns(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer names of the select language, after the last comma, and after the ``-`` of a descending order."""
    head, comma, last = incomplete.rpartition(",")
    minus = "-" if last.startswith("-") else ""
    return _completed(context, f"{head}{comma}{minus}", last.removeprefix("-"))


def complete_selection(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer names of the select language where the expression ends in one, and experiments where one is compared."""
    text = re.search(r"\bexperiment\s*==\s*(['\"])([\w-]*)$", incomplete)
    if text is not None:
        start = incomplete[: text.start(2)]
        names = dict.fromkeys(row.experiment for row in _rows(context))
        return [CompletionItem(f"{start}{name}{text[1]}") for name in names if name.startswith(text[2])]
    word = re.search(r"[A-Za-z_][\w.]*$|$", incomplete)
    start = incomplete[: word.start()] if word is not None else incomplete
    return _completed(context, start, incomplete[len(start) :])


def _completed(context: click.Context, before: str, word: str) -> list[CompletionItem[str]]:
    from expedition.archive.rows import DATA_BRANCHES, PARAMETER_BRANCHES

    branches = (*PARAMETER_BRANCHES, *DATA_BRANCHES)
    names: set[str] = set()
    for row in _rows(context):
        names |= row.names
    if "." not in word:  # a name is offered once, not also below each name of its branch
        names = {name for name in names if name.partition(".")[0] not in branches}
    return [CompletionItem(f"{before}{name}") for name in sorted(names) if name.startswith(word)][:_MOST]


def _rows(context: click.Context) -> Iterator[RunRow]:
    """The rows of the archive that is meant; none when it cannot be read: a completion must not fail."""
    with contextlib.suppress(Exception):
        from expedition.archive import Archive

        yield from Archive(_archive_of(context)).rows()


def _archive_of(context: click.Context) -> Path:
    from expedition.cli.project import project_here

    parent = context.parent
    given = context.params.get("archive") or (parent.params.get("archive") if parent is not None else None)
    return project_here(given).archive


class WholeWordBash(BashComplete):
    """Completion of bash that knows words with ``=`` and ``:``, which bash takes apart.

    Ids of runs are full of them: for ``a=1-b=2`` bash tells of five words, and replaces the last of them only. So the
    words are read from the whole line, and of what is offered the part in front of bash's last word is left out.
    """

    name = "bash"
    _cut = 0
    source_template = BashComplete.source_template.replace(
        'env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD',
        'env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD '
        'COMP_LINE="$COMP_LINE" COMP_POINT=$COMP_POINT COMP_LAST="${COMP_WORDS[COMP_CWORD]}"',
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words in front of the cursor's, and that one."""
        line = os.environ.get("COMP_LINE")
        if line is None or "COMP_LAST" not in os.environ:
            return super().get_completion_args()
        point = os.environ.get("COMP_POINT", "")
        line = line.encode()[: int(point)].decode(errors="ignore") if point.isdecimal() else line
        words = split_arg_string(line)[1:]
        last = words.pop() if words and not line[-1:].isspace() else ""
        return words, last

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return type and value, without what bash has taken for earlier words."""
        return f"{item.type},{item.value[self._cut :]}"

    def complete(self) -> str:
        """Return all that is offered, a line each."""
        _, incomplete = self.get_completion_args()
        last = os.environ.get("COMP_LAST")
        if last is not None and any(each in incomplete for each in _BREAKS):
            if incomplete.startswith("--"):
                incomplete = incomplete.partition("=")[2]
            rest = last if last.strip(_BREAKS) else ""  # the cursor stands behind the "="
            self._cut = len(incomplete) - len(rest) if incomplete.endswith(rest) else 0
        return super().complete()


add_completion_class(WholeWordBash)


def completion_script(shell: str, root: click.Command) -> str:
    """Return the script that makes `shell` complete both names of the console script."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    return "\n".join(
        kind(root, {}, name, f"_{name.upper()}_COMPLETE").source().rstrip() + "\n"
        for name in ("expedition", "xpd")
    )
