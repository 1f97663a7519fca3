"""The pytest plugin: options, and the way into the machinery when experiments are asked for.

This module is loaded by every pytest session of the environment. It imports nothing but pytest and the declarations
in `archive_options`; the rest is imported when an option of this plugin is given. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from expedition.plugin.archive_options import add_archive_keys, add_archive_options, verbs_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from expedition.plugin.past_results import Results

DEFAULT_FILES = ["exp_*.py", "*_exp.py", "experiment_*.py", "exp_*.yml", "exp_*.yaml"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and ini keys, all in one group of ``pytest --help``."""
    group = parser.getgroup("expedition", "experiments (pytest-expedition)")
    add = group.addoption
    add(
        "--experiments",
        action="append",
        metavar="PATH",
        help="Collect and run the experiments in a file or folder (repeatable)",
    )
    add("--where", metavar="EXPR", help="Run only the runs whose parameters match, such as 'alpha < 1'")
    add(
        "-P",
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="Set a parameter, of one experiment with EXPERIMENT:NAME=VALUE (repeatable)",
    )
    add(
        "--params-file",
        action="append",
        default=[],
        metavar="FILE",
        help="Set parameters from a YAML file of NAME: VALUE (repeatable)",
    )
    add(
        "--include",
        action="append",
        default=[],
        metavar="FILE",
        help="Let the hooks, fixtures and variables of a Python file join every experiment (repeatable)",
    )
    add("--testing", action="store_true", help="Run in testing mode: with the values of @experiment.testing")
    add(
        "--debug-run",
        action="store_true",
        help="Record into <namespace>/debug, in place of the last such run",
    )
    add("--run-prefix", metavar="WORD", help="A word for the names of the sweep folders")
    add("--no-experiment-cache", action="store_true", help="Neither use nor fill the cache of experiments")
    add(
        "--experiment-cache-clear",
        action="store_true",
        help="Remove the cache of the archive before the runs",
    )
    add(
        "--why-stale",
        action="store_true",
        help="Say why cached results are computed again, and with --resume why settled runs are",
    )
    add(
        "--run-timeout",
        metavar="S",
        help="Seconds that one attempt of a run may take, in place of what experiments say; 0 for any",
    )
    add(
        "--run-retries",
        metavar="N",
        help="How often a run that failed is tried again, in place of what experiments say",
    )
    add("--tag", action="append", default=[], metavar="TAG", help="Tag every run (repeatable)")
    add(
        "--note", action="append", default=[], metavar="TEXT", help="Note something in every run (repeatable)"
    )
    add(
        "--resume",
        action="store_true",
        help="Go on with the last sweep of each experiment: run only what is new, stale or not settled",
    )
    add(
        "--resume-from",
        metavar="SWEEP",
        help="Go on with this sweep instead of the last one: its name, reference such as k3f9, or path",
    )
    add("--force", action="store_true", help="With --resume run all selected runs again, settled ones too")
    add(
        "--ignore-code",
        action="store_true",
        help="With --resume take the code for unchanged: no run is stale for it",
    )
    add(
        "--experiment-validate",
        action="store_true",
        help="Check the files given with --experiments, run nothing, and say what is wrong with each",
    )
    add(
        "--experiment-warnings-as-errors",
        action="store_true",
        help="A file that --experiment-validate warns of is not valid",
    )
    add_archive_options(add)
    add_archive_keys(parser)
    parser.addini(
        "experiment_files",
        "File name patterns of experiment files",
        type="args",
        default=DEFAULT_FILES,
    )
    parser.addini("experiment_seed", "The number from which the seeds of all runs derive", default="0")
    parser.addini(
        "experiment_snapshot_interval",
        "Seconds between two trajectories of a running sweep, at least; 0 for none before its end",
        default="30",
    )
    parser.addini(
        "experiment_timeout_grace",
        "Seconds that a run has after its timeout to save its state, before its process is ended",
        default="10",
    )
    parser.addini(
        "experiment_max_generations",
        "Generations of runs of one invocation, the design included, that after_sweep functions may lead to",
        default="1000",
    )


def pytest_plugin_registered(manager: pytest.PytestPluginManager) -> None:
    """Make our hooks known as soon as a plugin or conftest file implements one, so that pytest does not refuse it."""
    for name, hook in vars(manager.hook).items():
        if name.startswith("pytest_experiment_") and not hook.has_spec():
            from expedition.plugin.hookspecs import add_to

            return add_to(manager)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> None:
    """Make the experiment paths paths of pytest, so that their conftest files load early; a report loads none."""
    verbs = verbs_of(early_config.known_args_namespace)
    if verbs or early_config.known_args_namespace.experiments:
        _import_as_written(early_config)
    if verbs:
        from expedition.plugin.archive_invocation import leave_project_alone

        leave_project_alone(early_config, parser, args)
    elif early_config.known_args_namespace.experiments:
        from expedition.plugin.activation import join_paths

        join_paths(early_config, args)


def _import_as_written(config: pytest.Config) -> None:
    """Have the modules of this package imported without the detour by which pytest rewrites the asserts of plugins.

    They have none that speak to users, and the detour is an eighth of the time in which a process starts.
    """
    hook = getattr(config.pluginmanager, "rewrite_hook", None)
    marked, known = getattr(hook, "_must_rewrite", None), getattr(hook, "_marked_for_rewrite_cache", None)
    if isinstance(marked, set) and isinstance(known, dict):
        marked -= {name for name in marked if name.partition(".")[0] == "expedition"}
        known.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer what is asked of the archive without collecting anything."""
    if config.option.experiment_validate:
        from expedition.plugin.validation import ask_only

        ask_only(config)
    if verbs_of(config.option):
        from expedition.plugin.archive_invocation import answer

        return answer(config)
    option = config.option
    listing = (option.archive_sort, option.archive_columns, option.archive_format)
    if (option.archive_select, option.archive_limit) != (None, None) or option.archive_all or any(listing):
        from expedition.plugin.archive_invocation import refuse_lone_options

        refuse_lone_options(config)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the machinery when experiments are asked for."""
    if config.option.experiments:
        from expedition.plugin.activation import activate

        activate(config)


@pytest.hookimpl(wrapper=True)
def pytest_unconfigure(config: pytest.Config) -> Generator[None]:
    """Undo what `activate` changed outside of pytest."""
    yield
    if config.option.experiments:
        from expedition.plugin.activation import deactivate

        deactivate(config)


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Results:
    """Finished runs of the archive, as in results("exp_train", where="alpha < 1")."""
    from expedition.plugin.past_results import results_for

    return results_for(request)
