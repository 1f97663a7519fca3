"""Fits the columns of a table into the width of a terminal: cuts long texts, then leaves columns out."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from expedition.reporting.cells import GAP

_BETWEEN = 2  # blanks between two columns
_LEAST = 12  # columns of a text or a title that are left at least, so that it still tells something
_SHORT = 18  # columns of texts that are not cut at all: there is little to gain


def fit(
    heads: Sequence[str],
    columns: Sequence[Sequence[str]],
    *,
    cuttable: Collection[int],
    drop: Sequence[int],
    width: int,
) -> list[int | None]:
    """Return how wide each column may be, None for those to leave out, so that lines have at most `width` columns.

    Texts are cut first, the widest most; numbers never, but their titles are. Where that is not enough, columns are
    left out. One is left in any case.

    :param heads: titles; `columns` are the cells below each.
    :param cuttable: positions of the columns whose cells may be cut.
    :param drop: positions of the columns in the order in which they are left out; the others follow from the right.
    """
    count = len(heads)
    bodies = [widest(cells) for cells in columns]
    full = [max(bodies[i], text_width(heads[i])) for i in range(count)]
    least = [
        min(full[i], max(_LEAST, bodies[i] if i not in cuttable or bodies[i] <= _SHORT else 0))
        for i in range(count)
    ]
    order = [*drop, *(i for i in reversed(range(count)) if i not in drop)]
    shown = list(range(count))
    while True:
        room = width - _BETWEEN * (len(shown) - 1)
        if sum(least[i] for i in shown) <= room or len(shown) <= 1:
            break
        shown.remove(next(i for i in order if i in shown))
    widths = {i: full[i] for i in shown}
    excess = sum(widths.values()) - room
    while excess > 0:
        wide = [i for i in shown if widths[i] > least[i]]
        if not wide:
            break
        highest = max(widths[i] for i in wide)
        group = [i for i in wide if widths[i] == highest]
        below = [widths[i] for i in wide if widths[i] < highest]
        floor = max([*below, *(least[i] for i in group)])
        step = max(1, min(highest - floor, excess // len(group)))
        for i in group:
            taken = min(step, excess)
            widths[i] -= taken
            excess -= taken
    if excess > 0 and shown:
        widths[shown[0]] = max(1, room)
    return [widths.get(i) for i in range(count)]


def is_plain(text: str) -> bool:
    """Whether each character surely takes one column: there is none beyond Latin, where the combining ones begin."""
    return text.isascii() or max(text) < "\u0300"


def text_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if is_plain(text):
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def widest(texts: Sequence[str]) -> int:
    """Return how many columns of a terminal the widest of some texts takes."""
    plain = is_plain("".join(texts))  # much faster to know for all of them at once
    return max(map(len if plain else text_width, texts), default=0)


def cut(text: str, width: int) -> str:
    """Return a text of at most `width` columns; a longer one ends in ``…``."""
    if text_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if text_width(kept + character) > width - 1:
            break
        kept += character
    return kept + GAP


def cut_front(text: str, width: int) -> str:
    """Return the end of a text, of at most `width` columns: names tell more at their end."""
    return text if text_width(text) <= width else cut(text[::-1], width)[::-1]
