"""Names that become folders."""

from __future__ import annotations

import re

from expedition.errors import ExperimentError

_FOLDER = re.compile(r"[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]*\Z")
_PREFIX = re.compile(r"[^\W_][\w.-]{0,59}\Z")


def check_namespace(namespace: str) -> None:
    """Raise `ExperimentError` unless `namespace` is a plain relative path of folders."""
    if not isinstance(namespace, str) or not all(_FOLDER.match(part) for part in namespace.split("/")):
        raise ExperimentError(
            f"a namespace must be folder names joined by '/', none of them beginning with a dot, but got {namespace!r}"
        )


def check_prefix(prefix: str) -> None:
    """Raise `ExperimentError` unless `prefix` can stand in the name of a folder; empty is none."""
    if prefix and not _PREFIX.match(prefix):
        raise ExperimentError(
            f"a prefix is a word of letters, digits, '.', '_' and '-' that begins with a letter or digit, at most 60 "
            f"of them, but got {prefix!r}"
        )
