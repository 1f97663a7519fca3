"""``expedition`` (short ``xpd``): the verbs of the pytest options, for where an option would be clumsy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from expedition.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    ``expedition run PATH … [pytest options]``, ``expedition archive list``, ``expedition archive show RUN``,
    ``expedition archive repair``, ``expedition validate FILE …``, ``expedition new KIND NAME``.
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
    if options.command == "validate":
        return _validate(options, rest)
    if options.command == "new":
        from expedition.cli.new import write_new

        if rest:
            _parser().error(f"new: unknown arguments {' '.join(rest)}; see expedition new --help")
        return write_new(options)
    if given:
        _parser().error("give a command, such as: expedition run PATH …")
    _parser().print_help()
    return 0


def _validate(options: argparse.Namespace, rest: Sequence[str]) -> int:
    import pytest

    if options.schema:
        print(SCHEMA)
        return 0
    if not options.files:
        _parser().error("validate: give experiment files, configs or folders")
    files = [argument for file in options.files for argument in ("--experiments", file)]
    strict = ["--experiment-warnings-as-errors"] if options.warnings_as_errors else []
    return int(pytest.main(["--experiment-validate", *files, *strict, *rest]))


SCHEMA = Path(__file__).parent.parent / "schema" / "experiment-config.schema.json"
"""The JSON schema of configs."""

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
    validate = commands.add_parser(
        "validate",
        help="check experiment files and configs, and run nothing",
        description="Collects the files, runs nothing, and says what is wrong with each. Exit status 0 or 4.",
    )
    validate.add_argument("files", nargs="*", metavar="FILE", help="experiment file, config or folder")
    validate.add_argument(
        "--warnings-as-errors", action="store_true", help="a file with a warning is not valid"
    )
    validate.add_argument(
        "--schema", action="store_true", help="print the path of the JSON schema of configs"
    )
    _add_new(commands.add_parser("new", help="write an experiment, a config or an analysis to start from"))
    return parser


def _add_new(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, text in (
        ("experiment", "write an experiment file"),
        ("extend", "write an experiment file that extends an experiment"),
        ("config", "write a YAML config that extends an experiment"),
        ("analysis", "write a script or notebook that reads a sweep"),
    ):
        new = kinds.add_parser(kind, help=text, description=f"{text.capitalize()}; it runs at once.")
        new.add_argument("name", metavar="NAME", help="name of the file; its suffix may be left out")
        if kind in ("extend", "config"):
            new.add_argument(
                "--from", dest="base", required=True, metavar="FILE[::EXPERIMENT]", help="what is extended"
            )
        if kind == "analysis":
            new.add_argument(
                "--from",
                dest="sweep",
                metavar="SWEEP",
                help="sweep folder (default: the last of the archive)",
            )
            new.add_argument("--notebook", action="store_true", help="write a Jupyter notebook")
            new.add_argument("--archive", metavar="DIR", help=_ROOT)
        else:
            new.add_argument("-d", "--description", metavar="TEXT", help="what it is about")
        new.add_argument("--folder", metavar="DIR", default=".", help="where to write it (default: here)")
        new.add_argument("--force", action="store_true", help="replace a file that is there")


if __name__ == "__main__":
    raise SystemExit(main())
