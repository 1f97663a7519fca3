"""A pytest plugin that notes what the process which the user started took: CPU seconds and peak memory.

It is loaded with ``-p probe`` and writes to the file that ``BENCHMARK_PROBE`` names.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Write the figures of reports on an archive, too, for which pytest is never configured."""
    result = yield
    pytest_unconfigure(config)
    return result


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the figures, unless this process is a worker of pytest-xdist."""
    target = os.environ.get("BENCHMARK_PROBE")
    if target and not hasattr(config, "workerinput"):
        Path(target).write_text(json.dumps({"cpu": time.process_time(), "peak": peak_memory()}))


def peak_memory() -> int:
    """Bytes of memory that this process held at most (``ru_maxrss`` would count its parent's as well)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0
