"""From the options to the parts of the plugin that a process needs: controller, worker or both in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from expedition.plugin.refusing import usage_error
from expedition.plugin.settings import Settings

SETTINGS = pytest.StashKey[Settings]()
_ENVIRONMENT = pytest.StashKey[dict[str, str | None]]()
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def join_paths(early_config: pytest.Config, args: list[str]) -> None:
    """Add the experiment paths to pytest's own arguments, and give experiments a cache folder of their own."""
    namespace = early_config.known_args_namespace
    for path in namespace.experiments:
        base = str(path).split("::")[0]
        if not (early_config.invocation_params.dir / base).exists():
            raise usage_error(
                f"--experiments {path}: there is no such file or folder below {early_config.invocation_params.dir}"
            )
        namespace.file_or_dir.insert(0, path)
        args.append(path)
    # --lf must not mix the experiments that failed with the tests that did, and dots would break the live line.
    if early_config.pluginmanager.has_plugin("cacheprovider"):
        _override_ini(
            early_config, "cache_dir", str(Path(str(early_config.getini("cache_dir"))) / "experiments")
        )
    if getattr(namespace, "verbose", 0) <= 0:  # without the terminal plugin there is no -v
        _override_ini(early_config, "console_output_style", "classic")


def _override_ini(config: pytest.Config, name: str, value: str) -> None:
    """Say ``-o name=value`` after the options were parsed, for which pytest has no public way.

    Where a pytest keeps its ini values otherwise, the project's own value stays.
    """
    values = getattr(config, "_inicache", None)
    if isinstance(values, dict):
        values[name] = value


def activate(config: pytest.Config) -> None:
    """Register what this process needs to run experiments. Raises `pytest.UsageError` for bad options."""
    from expedition.errors import ExperimentError
    from expedition.plugin import hookspecs, launch
    from expedition.plugin.codecs import HookCodecs
    from expedition.plugin.collection import ExperimentCollection
    from expedition.plugin.execution import RunExecution
    from expedition.plugin.fixtures import RunFixtures
    from expedition.plugin.hooks import ExperimentHooks
    from expedition.plugin.last_failed import LastFailed
    from expedition.plugin.retries import Retries
    from expedition.plugin.sending import SendableReports
    from expedition.plugin.signals import Signals

    launch.take_over(config)
    try:
        settings = Settings.from_config(config)
    except ExperimentError as error:
        raise usage_error(error) from None
    config.stash[SETTINGS] = settings
    if getattr(config.option, "setuponly", False) or getattr(config.option, "setupplan", False):
        raise pytest.UsageError(
            "--setup-only and --setup-plan would set up runs that never run; --collect-only previews the sweeps, "
            "--fixtures-per-test shows what each run asks for"
        )
    if config.option.showfixtures or config.option.show_fixtures_per_test:
        config.option.collectonly = True  # pytest collects for these as well, and runs nothing
    _limit_threads(config)
    for pattern in settings.file_patterns:
        config.addinivalue_line("python_files", pattern)
    manager = config.pluginmanager
    worker = getattr(config, "workerinput", None)
    hookspecs.add_to(manager)
    codecs = HookCodecs(config)
    codecs.install()
    manager.register(codecs, "expedition-codecs")
    signals = Signals(is_alone=worker is None)
    signals.install()
    hooks = ExperimentHooks(config)
    collection = ExperimentCollection(config, settings, hooks)
    execution = RunExecution(config, settings, collection, signals)
    manager.register(signals, "expedition-signals")
    manager.register(hooks, "expedition-hooks")
    manager.register(collection, "expedition-collection")
    manager.register(RunFixtures(), "expedition-fixtures")
    manager.register(execution, "expedition-execution")
    manager.register(Retries(config, settings), "expedition-retries")
    manager.register(SendableReports(), "expedition-sending")
    if worker is not None:
        from expedition.plugin.worker import SweepWorker
        from expedition.plugin.worker_loop import ORDER, WorkerLoop

        manager.register(
            SweepWorker(config, collection, execution, worker["expedition"]), "expedition-worker"
        )
        if worker.get(ORDER):
            manager.register(WorkerLoop(execution), "expedition-worker-loop")
    else:
        from expedition.plugin.controller import SweepController

        controller = SweepController(config, settings, collection, execution, signals)
        manager.register(controller, "expedition-controller")
        if config.option.experiment_validate:
            from expedition.plugin.validation import Validation

            manager.register(Validation(config, settings, collection), "expedition-validation")
        if config.getoption("dist", "no") != "no":
            from expedition.plugin.scheduling import Schedulers

            manager.register(
                Schedulers(config, settings.archive, controller.restarts), "expedition-scheduling"
            )
    LastFailed(config, settings.archive, collection).replace_those_of_pytest()


def deactivate(config: pytest.Config) -> None:
    """Restore codecs, signal handlers and environment."""
    codecs = config.pluginmanager.get_plugin("expedition-codecs")
    if codecs is not None:
        codecs.uninstall()
    signals = config.pluginmanager.get_plugin("expedition-signals")
    if signals is not None:
        signals.uninstall()
    for name, value in config.stash.get(_ENVIRONMENT, {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _limit_threads(config: pytest.Config) -> None:
    """Share the cores among the workers: N workers of N threads each are slower than N of one.

    Set on the controller before its workers start, and only where the user has not said otherwise.
    """
    workers = getattr(config.option, "numprocesses", None)
    if hasattr(config, "workerinput") or not isinstance(workers, int) or workers < 1:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    config.stash[_ENVIRONMENT] = {}
    for name in _THREADS:
        if name not in os.environ:
            config.stash[_ENVIRONMENT][name] = None
            os.environ[name] = str(max(1, cores // workers))
