"""The page on durability names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "durability.md"
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)::(?:\w+::)*(\w+)`")


def test_every_promise_has_its_test() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(NAMED.findall(text))
    assert len(named) > 20
    for file, name in sorted(named):
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in found, f"the page names {file}::{name}, which there is not"


def test_every_row_of_a_table_of_promises_names_one() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    is_of_promises = False
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if set("".join(cells)) <= set("- "):
            continue
        if not NAMED.search(row) and "`" not in row:  # the head of a table
            is_of_promises = cells[-1] == "held by"
            continue
        if is_of_promises:
            assert NAMED.search(cells[-1]), f"no test holds this: {row}"
