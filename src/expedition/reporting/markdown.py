"""Tables and texts in markdown, with the signs escaped that mean something there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\|`*_<>[]#~$"})


def escape_markdown(text: str) -> str:
    """Return a text that markdown shows as it is; the dollar begins a formula on some pages."""
    return text.translate(_SIGNS)


def markdown_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]
) -> Iterator[str]:
    """Yield the lines of a table of plain texts; columns at the positions `right` are aligned to the right."""
    yield _line(map(escape_markdown, heads))
    yield _line("--:" if at in right else "---" for at in range(len(heads)))
    for row in rows:
        yield _line(map(escape_markdown, row))


def _line(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"
