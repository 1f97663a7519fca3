"""Messages of this plugin that pytest prints."""

from __future__ import annotations

import pytest

from expedition.reporting.plain_text import printable


def usage_error(message: object) -> pytest.UsageError:
    """Return the error of a message that may quote anything: characters that cannot be seen are written as escapes."""
    return pytest.UsageError(printable(str(message)))
