"""Reports that a worker can send: one odd text would end the whole session."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from expedition.recording.output import REPORT_LIMIT

_USER_TEXT = frozenset({"longrepr", "sections", "user_properties", "expedition", "expedition_retry"})
"""Members of a report that may hold any text."""


class SendableReports:
    """Makes every report of this process one that can be sent."""

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Any, Any]:
        """Replace the texts of a report that cannot be sent."""
        data = yield
        if data is None or not str(data.get("nodeid", "")).isascii():
            return sendable(data)
        for name in _USER_TEXT & data.keys():  # the rest is made of the id
            if data[name]:
                data[name] = sendable(data[name])
        return data


def sendable(content: Any, longest: int = REPORT_LIMIT) -> Any:
    """Return JSON-like content with texts that UTF-8 can hold, none of them longer than `longest`."""
    if isinstance(content, str):
        if len(content) > longest:
            content = f"{content[:longest]}… ({len(content) - longest} more characters in the run's record)"
        return content if content.isascii() else content.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(content, dict):
        return {sendable(key): sendable(value) for key, value in content.items()}
    if isinstance(content, list):
        return [sendable(item) for item in content]
    if isinstance(content, tuple):  # pytest tells the place of a skip by its being one
        return tuple(sendable(item) for item in content)
    return content
