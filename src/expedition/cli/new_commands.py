"""``expedition new …``: the command line of the files to start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from expedition.cli import options
from expedition.cli.ending import refusing


@click.group()
def new() -> None:
    """Write an experiment, a config or an analysis to start from; it runs at once."""


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--force", is_flag=True, help="Replace a file that is there."),
        click.option(
            "--folder",
            type=click.Path(),
            metavar="DIR",
            default=".",
            help="Where to write it (default: here).",
        ),
        click.argument("name"),
    ):
        function = option(function)
    return function


_description = click.option("-d", "--description", metavar="TEXT", default="", help="What it is about.")
_base = click.option(
    "--from",
    "base",
    type=click.Path(),
    metavar="FILE[::EXPERIMENT]",
    required=True,
    help="What is extended.",
)


def _write(kind: str, **given: Any) -> None:
    with refusing():
        from expedition.cli.new import NewFile, write_new

        write_new(NewFile(kind, **given))


@new.command()
@_named
@_description
def experiment(**given: Any) -> None:
    """Write an experiment file; the suffix of NAME may be left out."""
    _write("experiment", **given)


@new.command()
@_named
@_base
@_description
def extend(**given: Any) -> None:
    """Write an experiment file that extends an experiment."""
    _write("extend", **given)


@new.command()
@_named
@_base
@_description
def config(**given: Any) -> None:
    """Write a YAML config that extends an experiment."""
    _write("config", **given)


@new.command()
@_named
@click.option(
    "--from",
    "sweep",
    type=click.Path(),
    metavar="SWEEP",
    help="Sweep folder (default: the last of the archive).",
)
@click.option("--notebook", is_flag=True, help="Write a Jupyter notebook.")
@options.archive_folder
def analysis(**given: Any) -> None:
    """Write a script or notebook that reads a sweep."""
    _write("analysis", **given)
