"""Makes the runs of one process: each with its log, the writer of its sweep folder, and the cache of the archive."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from expedition.authoring.code import Reached, reach
from expedition.plugin.settings import Settings
from expedition.recording import Run, layout
from expedition.recording.cache import Cache
from expedition.recording.inputs import InputFiles
from expedition.recording.masking import NO_MASK, Mask
from expedition.recording.meta import RunIdentity
from expedition.recording.output import Output
from expedition.recording.run import ChildRunner, HookSource, RunListener
from expedition.recording.writer import SweepWriter


def run_log(folder: Path, capture: str, mask: Mask = NO_MASK) -> Output:
    """Return the log of the run folder `folder`; `capture` is how pytest captures output."""
    return Output(
        str(folder / layout.LOG_FILE),
        descriptors=capture == "fd",
        echo=capture in ("no", "tee-sys"),
        mask=mask,
    )


class RunMaker:
    """Makes the runs of this process, and holds the writers of the sweep folders in which they are recorded.

    Attributes
    ----------
    capture : how pytest captures output.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.capture = str(config.getoption("capture", "no"))
        self._settings = settings
        self._caches = {enabled: Cache(settings.archive, enabled=enabled) for enabled in (True, False)}
        self._worker = getattr(config, "workerinput", {}).get("workerid", "main")
        self._writers: dict[Path, SweepWriter] = {}
        self._input_files = InputFiles(settings.rootdir)

    def writer_of(self, sweep: Path) -> SweepWriter:
        """This process's writer in a sweep folder, made at its first run there."""
        if sweep not in self._writers:
            self._writers[sweep] = SweepWriter(sweep, self._worker)
        return self._writers[sweep]

    def cache(self, mask: Mask, *, enabled: bool) -> Cache:
        """The cache of the archive, for runs with the secrets of `mask`."""
        return self._caches[enabled].for_secrets(mask)

    def make(
        self,
        identity: RunIdentity,
        *,
        listener: RunListener | None,
        hooks: HookSource,
        caching: bool,
        children: ChildRunner,
    ) -> tuple[Run, Output]:
        """Return a run that has not started, and its log."""
        output = run_log(identity.folder, self.capture, identity.mask)
        cache = self.cache(identity.mask, enabled=caching)
        writer = self.writer_of(identity.sweep)
        run = Run(
            identity,
            writer,
            listener,
            output,
            hooks,
            cache,
            children,
            self._read_code,
            self._input_files,
            functools.partial(self._input_changes, identity.sweep),
        )
        return run, output

    def _input_changes(self, sweep: Path, inputs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """What of inputs that a run has read, and one in `sweep` would read again, is another by now, or gone."""
        from expedition.plugin.input_check import InputCheck

        check = InputCheck(self._settings.archive, self._input_files, is_still=False)
        changed, gone = check.changes(inputs, since=0, besides=sweep)
        return (*changed, *(f"{place} is not there any more" for place in sorted(gone)))

    def _read_code(self, function: Callable[..., Any]) -> Reached:
        return reach(function, root=self._settings.rootdir, is_exact=False)

    def close(self) -> None:
        """Give back the locks of this process."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
