"""``expedition`` (short ``xpd``): the verbs of the pytest options, for where an option would be clumsy."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from expedition.cli.archive_commands import archive
from expedition.cli.completing import completion_script
from expedition.cli.ending import INTERRUPTED, USAGE, Refusal
from expedition.cli.experiment_commands import experiments, validate
from expedition.cli.new_commands import new
from expedition.cli.schema_command import schema
from expedition.version import __version__

_NAMES = ("expedition", "xpd")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    It is 0 when all is well, also when there is nothing to show; 1 when runs failed, or an action had problems or was
    not wanted; 2 when it was interrupted; 4 when what is asked is wrong. That of ``run`` is pytest's.
    """
    called = Path(sys.argv[0]).name if sys.argv else ""
    name = called if called in _NAMES else _NAMES[0]
    try:
        status = root.main(
            None if arguments is None else list(arguments), prog_name=name, standalone_mode=False
        )
    except Refusal as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        from expedition.reporting.printing import print_text

        said = io.StringIO()
        error.show(said)  # what was typed may hold anything, and click prints it as it is
        print_text(said.getvalue().rstrip("\n"), sys.stderr)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return int(status or 0)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=f"{_NAMES[0]} %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Run experiments with pytest, and look at what they left behind.

    \b
    expedition run exps -n 4             run experiments
    expedition archive list              what has been run
    expedition archive show RUN          one run whole
    expedition archive list --select "status == 'done' and alpha < 1"

    Exit status: 0, also where there is nothing to show; 1 when runs failed or an action had problems; 2 when
    interrupted; 4 when what is asked is wrong.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@root.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="",
)
@click.argument("arguments", metavar="PATH... [PYTEST OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, arguments: Sequence[str]) -> int:
    """Run the experiments in files or folders.

    `run PATH... [options]` is `pytest --experiments PATH ... [options]`, with its exit status.
    """
    paths: list[str] = []
    rest = list(arguments)
    while rest and not rest[0].startswith("-"):
        paths += ["--experiments", rest.pop(0)]
    if not paths:
        raise click.UsageError("give files or folders first: run PATH... [PYTEST OPTIONS]", context)
    import pytest

    return int(pytest.main([*paths, *rest]))


@root.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, runs and columns.

    \b
    bash: add  eval "$(expedition completion bash)"  to ~/.bashrc
    zsh:  add  eval "$(expedition completion zsh)"   to ~/.zshrc, behind compinit
    fish: expedition completion fish > ~/.config/fish/completions/expedition.fish
    """
    click.echo(completion_script(shell, root))


root.add_command(validate)
root.add_command(new)
root.add_command(archive)
root.add_command(experiments)
root.add_command(schema)


if __name__ == "__main__":
    raise SystemExit(main())
