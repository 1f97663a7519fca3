"""Shows what an action would do, asks, does it and says so; for the options of pytest and the console script."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

from expedition.errors import ExperimentError
from expedition.plugin.acting.action import Action
from expedition.reporting.printing import print_text

INTERRUPTED = 2
"""Exit status when it was interrupted, as that of pytest."""
_PREVIEWED = 10
"""Lines of the preview above a question."""


def perform(
    action: Action, *, dry_run: bool, yes: bool, asks: bool, spelled: Callable[[str], str] = str
) -> int:
    """Do what was planned, or only show it with `dry_run`; return the exit status, 1 when there were problems.

    It is asked for at the terminal first if `asks`, unless `yes`; whoever says no gets 1, too. Lines are printed as
    things are done, and problems last, on the standard error. An interrupt gives `INTERRUPTED`. `spelled` gives
    messages the names of the options that the front door has. Raises `ExperimentError` when there is no terminal to
    ask at: nothing was done.
    """
    begun = False
    done = 0

    def tell_problems() -> None:
        for problem in action.problems:
            print_text(spelled(problem), sys.stderr)

    try:
        if not dry_run and asks and action.question and not yes and not _is_wanted(action, spelled):
            print_text("nothing was changed")
            return 1
        begun = not dry_run
        for line in action.preview() if dry_run else action.apply():
            done += 1
            print_text(spelled(line))
    except KeyboardInterrupt:
        if not begun:
            print_text("\nnothing was changed")
            return INTERRUPTED
        print_text(
            f"interrupted; {'what is said above was done' if done else 'nothing was said to be done yet'}"
        )
        tell_problems()
        return INTERRUPTED
    if dry_run:
        print_text(f"would {action.question.rstrip('?')}" if action.question else "nothing to do")
    elif not done and not action.problems:
        print_text("nothing to do: no run is meant" if not action.question else "nothing to do")
    tell_problems()
    return 1 if action.problems else 0


def _is_wanted(action: Action, spelled: Callable[[str], str]) -> bool:
    if not _is_terminal():
        raise ExperimentError(
            f"{action.question} There is no terminal to ask at: say --archive-yes, or see what would be done with "
            f"--archive-dry-run; nothing was changed"
        )
    lines = action.preview()
    for line in itertools.islice(lines, _PREVIEWED):
        print_text(line)
    more = sum(1 for _ in lines)
    if more:
        print_text(spelled(f"… and {more:,} more lines: --archive-dry-run shows all"))
    stream = sys.stdout if sys.stdout.isatty() else sys.stderr
    print_text(f"{action.question} [y/N] ", stream, end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):  # closed, or none
        return False
