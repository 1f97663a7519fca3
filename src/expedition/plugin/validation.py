"""``--experiment-validate``: what collection says of each file, and nothing else."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from expedition.authoring.modules import line_in
from expedition.authoring.remarks import remarks_on
from expedition.plugin.collection import ExperimentCollection
from expedition.plugin.findings import Finding
from expedition.plugin.modules import ExperimentModule
from expedition.plugin.settings import Settings
from expedition.reporting.printing import can_show, print_text

_MARKS = {"valid": "✓", "wrong": "✗", "warning": "⚠"}
_PLAIN_MARKS = {"valid": "ok", "wrong": "error", "warning": "warning"}


def ask_only(config: pytest.Config) -> None:
    """Make an invocation one that only collects, and leaves the terminal to the report.

    Raises `pytest.UsageError` when no file is given.
    """
    option = config.option
    if not option.experiments:
        raise pytest.UsageError("--experiment-validate needs files: --experiments FILE --experiment-validate")
    option.collectonly = True
    for name in ("terminalreporter", "lfplugin"):  # the last one would write what failed into its cache
        config.pluginmanager.set_blocked(name)


@dataclass
class CheckedFile:
    """What is known of one file: its name in messages, what it holds, and what was found."""

    name: str
    experiments: int = 0
    runs: int = 0
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


class Validation:
    """Reports on the files of a session that only collects; its exit status is 0 or that of a usage error.

    Attributes
    ----------
    files : the files by path, in order of collection, when all is collected.
    errors : what is wrong with no file, but with an option.
    """

    def __init__(self, config: pytest.Config, settings: Settings, collection: ExperimentCollection) -> None:
        self._settings = settings
        self._collection = collection
        self._strict = bool(config.option.experiment_warnings_as_errors)
        self._failures: list[Finding] = []
        self._refusal = ""
        self.files: dict[Path, CheckedFile] = {}
        self.errors: list[Finding] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Keep a usage error for the report."""
        try:
            return (yield)
        except pytest.UsageError as error:
            self._refusal = "\n".join(map(str, error.args))
            return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Take note of a file, and of what its import raised."""
        if isinstance(collector, ExperimentModule):
            self._file(collector.path)
        report = yield
        call = getattr(report, "call", None)
        if report.failed and call is not None and call.excinfo is not None:
            error = call.excinfo.value
            if isinstance(error, collector.CollectError) and error.__cause__ is not None:
                error = error.__cause__
            line, text = line_in(error, collector.path), f"{type(error).__name__}: {error}"
            if isinstance(error, collector.CollectError):
                text = str(error)
            if isinstance(error, SyntaxError) and line:
                text = f"{type(error).__name__}: {error.msg}"
            self._failures.append(Finding(text, collector.path, self._name(collector.path), line))
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "by a mark"
            text = f"skipped where it is imported ({reason}), so that nothing of it was checked"
            self._failures.append(Finding(text, collector.path, self._name(collector.path)))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        """Run nothing."""
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Print the report; 4 is the exit status when something is wrong."""
        result = yield
        if session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            self._settle()
            for line in self._lines():
                print_text(line)
            wrong = self.errors or any(not self._is_valid(each) for each in self.files.values())
            session.exitstatus = pytest.ExitCode.USAGE_ERROR if wrong else pytest.ExitCode.OK
        return result

    def _settle(self) -> None:
        """Give every finding to its file."""
        for plan in self._collection.plans.values():
            file = self._file(plan.lineage.own.source.path)
            file.experiments += 1
            file.runs += len(plan.runs)
            for remark in remarks_on(plan):
                warning = Finding(remark.text, remark.path, self._name(remark.path), remark.line)
                if warning not in file.warnings:
                    file.warnings.append(warning)
        for finding in [*self._collection.errors, *self._failures]:
            if finding.path is None:
                self.errors.append(finding)
            else:
                self._file(finding.path).errors.append(finding)
        explained = "\n".join(map(str, self._collection.errors))
        if self._refusal and self._refusal != explained:
            self.errors.append(Finding(self._refusal))
        for path, file in list(self.files.items()):
            if file.experiments or file.errors:
                continue
            if path in self._settings.files:
                file.errors.append(
                    Finding("no function is marked with @experiment; mark one", path, file.name)
                )
            else:  # found in a folder by its name
                del self.files[path]
        if not self.files and not self.errors:
            patterns = " ".join(self._settings.file_patterns)
            self.errors.append(Finding(f"there is no experiment in files named {patterns}"))

    def _file(self, path: Path) -> CheckedFile:
        return self.files.setdefault(path, CheckedFile(self._name(path)))

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._settings.rootdir)) if self._is_below_root(path) else str(path)

    def _is_below_root(self, path: Path) -> bool:
        return path.is_relative_to(self._settings.rootdir)

    def _is_valid(self, file: CheckedFile) -> bool:
        return not file.errors and not (self._strict and file.warnings)

    def _lines(self) -> Iterator[str]:
        marks = _MARKS if can_show("".join(_MARKS.values())) else _PLAIN_MARKS
        for file in self.files.values():
            if self._is_valid(file):
                sizes = [_counted(file.experiments, "experiment"), _counted(file.runs, "run")]
                yield f"{marks['valid']} {file.name}: {', '.join(sizes)}"
            else:
                yield f"{marks['wrong']} {file.name}"
            for finding in file.errors:
                yield f"  {finding}"
            for finding in file.warnings:
                yield f"  {marks['warning']} {finding}"
        for finding in self.errors:
            yield f"{marks['wrong']} {finding}"
        for text in self._collection.warnings:
            yield f"{marks['warning']} {text}"
        valid = sum(map(self._is_valid, self.files.values()))
        yield f"{valid:,} of {len(self.files):,} files are valid"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
