"""UPPERCASE variables of an experiment file: which are parameters, and what their comments say."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

_UPPERCASE = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_PARAM_COMMENT = re.compile(r"#\s*:param\s+([A-Z][A-Z0-9_]*)\s*:(.*)")


@dataclass(frozen=True)
class Variable:
    """An UPPERCASE variable that the source assigns at module level, in the order of the page."""

    name: str
    line: int
    description: str = ""


def assigned_variables(source: str) -> dict[str, Variable]:
    """Return the UPPERCASE variables that `source` assigns at module level; imported names are none.

    The description is the comment behind the assignment, or a ``# :param NAME: …`` comment anywhere, whose
    text may go on in the comment lines directly below it.
    """
    lines: dict[str, int] = {}
    for name, line in _assignments(ast.parse(source).body):
        if _UPPERCASE.match(name):
            lines.setdefault(name, line)
    if not lines:
        return {}
    trailing, described = _comments(source)
    return {
        name: Variable(name, line, described.get(name) or trailing.get(line, ""))
        for name, line in lines.items()
    }


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    for statement in body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                for node in ast.walk(target):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        yield node.id, statement.end_lineno or statement.lineno
        elif isinstance(statement, ast.AnnAssign):
            if isinstance(statement.target, ast.Name) and statement.value is not None:
                yield statement.target.id, statement.end_lineno or statement.lineno
        elif isinstance(statement, ast.Match):
            for case in statement.cases:
                yield from _assignments(case.body)
        elif isinstance(statement, ast.If | ast.Try | ast.TryStar | ast.With | ast.For | ast.While):
            for part in ("body", "orelse", "finalbody"):
                yield from _assignments(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                yield from _assignments(handler.body)


def _comments(source: str) -> tuple[dict[int, str], dict[str, str]]:
    """Comments behind code by line, and ``:param`` comments by name."""
    trailing: dict[int, str] = {}
    whole: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            own_line = token.line[: token.start[1]].strip() == ""
            (whole if own_line else trailing)[token.start[0]] = token.string
    described: dict[str, str] = {}
    for line, comment in whole.items():
        match = _PARAM_COMMENT.match(comment)
        if not match:
            continue
        parts = [match[2].strip()]
        following = line + 1
        while following in whole and not _PARAM_COMMENT.match(whole[following]):
            parts.append(whole[following].lstrip("#").strip())
            following += 1
        described[match[1]] = " ".join(part for part in parts if part)
    texts = {line: comment.lstrip("#").lstrip(":").strip() for line, comment in trailing.items()}
    return texts, described
