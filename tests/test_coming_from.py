"""The page for those who come from PyComex and pypet: it leaves out nothing, and every test that it names is there."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
PYPET_FEATURES = 106
REBUILD_FEATURES = 31
PYCOMEX_FEATURES = [
    *(f"A{n}" for n in range(1, 17)),
    *(f"E{n}" for n in range(1, 13)),
    *(f"F{n}" for n in range(1, 6)),
    "G1",
    *(f"D{n}" for n in range(1, 8)),
    *(f"H{n}" for n in range(1, 19)),
]
"""Those of the areas whose tables are complete."""

PYCOMEX_FAULTS = [*range(1, 13), *range(15, 23), *range(27, 32), *range(33, 38)]
"""Those that concern what is recorded, what one writes, gives and shares, and what one does with archives."""

OTHER_AREAS = "#### Other areas"
FAULTS = "### Faults of PyComex that are not here"

Row = tuple[str, str, str, str]


def rows(heading: str) -> list[Row]:
    """Rows of the tables below a heading of the second level, but for those of faults."""
    return rows_in(PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0].split("\n### Faults")[0])


def rows_in(section: str) -> list[Row]:
    """Rows of the tables in a part of the page."""
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] not in ("#", "---"):
            assert len(cells) == 4 or line.endswith("| |"), line
            found.append((cells[0], cells[1], cells[2], cells[3] if len(cells) == 4 else ""))
    return found


PYCOMEX, _, _REST = PAGE.split("\n## From PyComex\n")[1].partition(OTHER_AREAS)
OTHERS, _, FAULT_ROWS = _REST.partition(FAULTS)
PYPET_FAULTS = rows_in(
    PAGE.split("### Faults of pypet and pypet_rebuild that are not here")[1].split("\n## ")[0]
)
COMPLETE = [
    *rows("From pypet"),
    *rows("From pypet_rebuild"),
    *PYPET_FAULTS,
    *rows_in(PYCOMEX),
    *rows_in(FAULT_ROWS),
]
ALL_ROWS = [*COMPLETE, *rows_in(OTHERS)]


@functools.cache
def names_in(path: str) -> set[str]:
    """Names of the tests of a file, those of classes as ``Class::test``."""
    found = set()
    for node in ast.parse((ROOT / path).read_bytes()).body:
        inner = [(f"{node.name}::", each) for each in node.body] if isinstance(node, ast.ClassDef) else []
        for prefix, each in [("", node), *inner]:
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
                found.add(prefix + each.name)
    return found


def test_every_feature_of_pypet_has_its_row() -> None:
    assert [number for number, *_ in rows("From pypet")] == [str(n) for n in range(1, PYPET_FEATURES + 1)]
    names = [number for number, *_ in rows("From pypet_rebuild")]
    assert names == [f"D{n}" for n in range(1, REBUILD_FEATURES + 1)]


def test_every_feature_of_pycomex_in_the_complete_areas_has_its_row() -> None:
    assert [number for number, *_ in rows_in(PYCOMEX)] == PYCOMEX_FEATURES


def test_the_other_areas_of_pycomex_are_there() -> None:
    numbers = [number for row in rows_in(OTHERS) for number in row[0].split(", ")]
    assert {number[0] for number in numbers} == set("BCGI")
    assert not set(numbers) & set(PYCOMEX_FEATURES)


def test_every_fault_of_pycomex_that_concerns_these_areas_has_its_row() -> None:
    found = dict.fromkeys(number for number, *_ in rows_in(FAULT_ROWS))
    assert list(found) == [f"W{number}" for number in PYCOMEX_FAULTS]


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: f"{row[0]}-{row[1][:20]}")
def test_a_row_says_what_to_write_and_which_test_shows_it(row: Row) -> None:
    _, theirs, ours, shown = row
    assert theirs
    assert ours
    for name in re.findall(r"`(tests/[^`]*)`", shown):
        path, _, test = name.partition("::")
        assert (ROOT / path).is_file(), path
        assert test in names_in(path), name
    assert re.sub(r"`tests/[^`]*`(, )?", "", shown) == ""
    if not shown:
        assert ours.startswith("not here"), "a feature without a test that shows it"
    if ours.startswith("not here"):
        assert re.search(r"because|instead|yet|;|:", ours), "it says neither why nor what to do"


@pytest.mark.parametrize("row", COMPLETE, ids=lambda row: f"{row[0]}-{row[1][:20]}")
def test_every_row_of_a_complete_table_has_a_test(row: Row) -> None:
    """Also a row that says *not here*: what stands in its place is shown."""
    assert row[3]


def test_the_page_is_in_the_navigation() -> None:
    assert "coming-from.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "(coming-from.md)" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
