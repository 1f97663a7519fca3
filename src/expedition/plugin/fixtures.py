"""The fixtures ``experiment`` and ``e``: the live run."""

from __future__ import annotations

import pytest

from expedition.plugin.live_run import LIVE
from expedition.recording import Run


class RunFixtures:
    """Registered only while experiments run, so that a test suite may use these names for itself."""

    @pytest.fixture
    def experiment(self, request: pytest.FixtureRequest) -> Run:
        """The run in progress: its parameters, and everything it records."""
        run: Run = request.node.stash[LIVE].run
        return run

    @pytest.fixture
    def e(self, experiment: Run) -> Run:
        """Short name of `experiment`."""
        return experiment
