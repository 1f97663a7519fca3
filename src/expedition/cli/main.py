"""``expedition`` (short ``xpd``): the verbs of the pytest options, for where an option would be clumsy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from expedition.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    ``expedition run PATH … [pytest options]``, ``expedition archive list``, ``expedition archive show RUN``,
    ``expedition archive repair``.
    """
    import pytest

    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"] and len(given) > 1 and given[1] not in ("-h", "--help"):
        paths = []
        rest = given[1:]
        while rest and not rest[0].startswith("-"):
            paths += ["--experiments", rest.pop(0)]
        if not paths:
            _parser().error("run: give files or folders first, expedition run PATH … [pytest options]")
        return int(pytest.main([*paths, *rest]))
    options, rest = _parser().parse_known_args(given)
    if options.command == "archive":
        root = ["--archive", options.archive] if options.archive else []
        if options.report == "repair":
            return int(pytest.main(["--archive-repair", *root, *rest]))
        report = ["--archive-list"] if options.report == "list" else ["--archive-show", options.run]
        return int(pytest.main([*report, *root, f"--archive-format={options.format}", *rest]))
    if given:
        _parser().error("give a command, such as: expedition run PATH …")
    _parser().print_help()
    return 0


_ROOT = "archive root (default: as for pytest)"


class _Parser(argparse.ArgumentParser):
    """Ends with pytest's exit code for a usage error; argparse's own means an interruption there."""

    def error(self, message: str) -> NoReturn:
        import pytest

        self.print_usage(sys.stderr)
        self.exit(int(pytest.ExitCode.USAGE_ERROR), f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="expedition", description="Run experiments with pytest, and look at what they left behind."
    )
    parser.add_argument("--version", action="version", version=f"expedition {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "run",
        help="run the experiments in files or folders: expedition run PATH … [pytest options]",
        description="expedition run PATH … [options] is pytest --experiments PATH … [options]",
    )
    archive = commands.add_parser("archive", help="report on the archive, or repair it")
    reports = archive.add_subparsers(dest="report", metavar="REPORT", required=True)
    for name, text in (("list", "list the runs"), ("show", "show one run")):
        report = reports.add_parser(name, help=text)
        if name == "show":
            report.add_argument("run", metavar="RUN", help="folder, key or id of a run")
        report.add_argument("--archive", metavar="DIR", help=_ROOT)
        report.add_argument("--format", choices=["table", "json"], default="table")
    repair = reports.add_parser("repair", help="write trajectories anew, and lost commit lines again")
    repair.add_argument("--archive", metavar="DIR", help=_ROOT)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
