"""``expedition experiments`` and ``expedition validate``: what experiment files hold, without running it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from expedition.cli.ending import USAGE, Refusal

SCHEMA = Path(__file__).parent.parent / "schema" / "experiment-config.schema.json"
"""The JSON schema of configs."""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("files", metavar="FILE... [PYTEST OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--warnings-as-errors", is_flag=True, help="A file with a warning is not valid.")
@click.option("--schema", is_flag=True, help="Print the path of the JSON schema of configs.")
@click.pass_context
def validate(context: click.Context, files: Sequence[str], warnings_as_errors: bool, schema: bool) -> int:
    """Check experiment files and configs, and run nothing.

    Says what is wrong with each. Exit status 0 or 4.
    """
    if schema:
        click.echo(SCHEMA)
        return 0
    count = next((number for number, text in enumerate(files) if text.startswith("-")), len(files))
    if not count:
        raise click.UsageError("give experiment files, configs or folders", context)
    import pytest

    arguments = [argument for file in files[:count] for argument in ("--experiments", file)]
    strict = ["--experiment-warnings-as-errors"] if warnings_as_errors else []
    return int(pytest.main(["--experiment-validate", *arguments, *strict, *files[count:]]))


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(["table", "json"]), default="table", help="How it is printed.")
def experiments(paths: Sequence[Path], format: str) -> int:
    """Say which experiments files and folders have (default: this folder).

    Of each: its description, its parameters with types and defaults, and the hooks that it applies or fills. The
    files are collected, and nothing is run. Files that are not valid are told at the end, with exit status 4.
    """
    from expedition.cli.catalog import catalog_text
    from expedition.plugin.inspection import collected
    from expedition.reporting.printing import print_text, terminal_width

    for path in paths:
        if not path.exists():
            raise Refusal(f"there is no such file or folder: {path}")
    found = collected(paths or [Path()])
    if found.plans or format == "json":
        print_text(catalog_text(found.plans, format=format, width=terminal_width()))
    if not found.is_valid:
        print_text(found.report, sys.stderr)
        return USAGE
    return 0
