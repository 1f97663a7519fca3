"""Takes the values of secret parameters out of what pytest reports."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from expedition.recording.masking import Mask


def conceal_report(report: pytest.TestReport, mask: Mask) -> None:
    """Mask the traceback and the sections of a report."""
    if not mask:
        return
    report.longrepr = concealed(report.longrepr, mask)
    report.sections = [(title, mask.text(text)) for title, text in report.sections]
    report.user_properties = concealed(report.user_properties, mask)


def conceal_warning(message: warnings.WarningMessage, mask: Mask) -> None:
    """Mask the text of a warning that is about to be shown."""
    text = str(message.message)
    if mask and mask.text(text) != text:
        message.message = UserWarning(mask.text(text))


def concealed(item: Any, mask: Mask) -> Any:
    """Return texts masked, lists and tuples of them, and pytest's own objects that are made of these."""
    if isinstance(item, str):
        return mask.text(item)
    if isinstance(item, list | tuple):
        return type(item)(concealed(member, mask) for member in item)
    if type(item).__module__.startswith("_pytest."):
        for name, value in list(vars(item).items()):
            object.__setattr__(item, name, concealed(value, mask))
    return item
