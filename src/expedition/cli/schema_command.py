"""``expedition schema``: where the JSON schemas of configs and of an archive's files are."""

from __future__ import annotations

import click

from expedition.cli.ending import refusing


def _names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from expedition.archive.schemas import schema_names

    return [name for name in schema_names() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=_names)
def schema(name: str | None) -> None:
    """Print the path of a JSON schema: of configs, or of the files of an archive.

    Without NAME it prints the names of all.
    """
    with refusing():
        from expedition.archive.schemas import schema_names, schema_path

        click.echo(schema_path(name) if name is not None else "\n".join(schema_names()))
