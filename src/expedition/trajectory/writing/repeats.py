"""Finds identical arrays among those of a column, so that each is stored once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.errors import DamagedError
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.writing.arrays import Item

WORTH = 16 << 10
"""Bytes that repeats must take before storing each array once makes a file smaller."""


@dataclass
class Distinct:
    """The distinct arrays of some items.

    `numbers` has for each item the number of its array among `firsts`, -1 where it could not be read; `failed`
    has the runs of these, and why. `repeated` counts the bytes of arrays that were there already.
    """

    firsts: list[Item] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    repeated: int = 0


def find_distinct(items: Sequence[Item], source: ArraySource) -> Distinct:
    """Return the distinct arrays among `items`, in the order in which they first occur.

    Only arrays that may be equal, since they have the same CRC, dtype and shape, are read and compared by a hash.
    """
    alike = Counter(map(_key, items))
    out, numbers, digests = Distinct(), dict[Any, int](), dict[int, bytes]()
    for item in items:
        key: Any = _key(item)
        if alike[key] > 1:
            known = id(item.stored)  # one object stands for the value that all runs share
            try:
                if known not in digests:
                    digests[known] = source.digest(item.row, item.stored)
            except DamagedError as error:
                out.numbers.append(-1)
                out.failed.append((item.row, str(error)))
                continue
            key = (key, digests[known])
        number = numbers.setdefault(key, len(out.firsts))
        if number == len(out.firsts):
            out.firsts.append(Item(number, item.row, item.stored))
        else:
            out.repeated += item.stored.nbytes
        out.numbers.append(number)
    return out


def is_worth(distinct: int, cells: int, repeated: int) -> bool:
    """Tell whether storing the distinct ones of some results, and an index, makes the file smaller."""
    return 2 * distinct <= cells and repeated > WORTH


def _key(item: Item) -> tuple[Any, ...]:
    return item.stored.crc, item.stored.dtype, item.stored.shape
