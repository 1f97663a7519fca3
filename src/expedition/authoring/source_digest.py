"""Hashes of functions and classes by what their source says, and not by how it is laid out."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

_NO_MEANING = frozenset({"ctx", "kind", "type_comment"})
"""Members of a syntax tree that follow from the others, or that no code can see."""

MARKS_OF_OUTCOMES = frozenset({"skip", "skipif", "xfail"})
"""Marks of pytest that decide how a run ends."""


def digest_of(item: Any, *, with_signature: bool = True, hide: Callable[[str], str] = str) -> str:
    """Return a hash of a function or class that layout, comments, docstrings, our decorators and marks do not change.

    Without `with_signature` the defaults and annotations of its arguments do not count, which are parameters. `hide`
    takes out of a text what must not be guessed from its hash.

    It is the same in every version of Python. Only of what has no source, such as a function that ``exec`` made,
    the hash is one of its bytecode.
    """
    code = getattr(item, "__code__", None)
    try:
        if code is not None and code.co_name == "<lambda>":
            text = _lambda_form(code)
        else:
            source = textwrap.dedent(inspect.getsource(item if code is None else code))
            text = normal_form(source, _ours_of(item), with_signature=with_signature)
    except (OSError, TypeError, SyntaxError):
        text = repr((code.co_code, code.co_names, _constants(code))) if code is not None else repr(item)
    return hash_of(hide(text))


def hash_of(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


@lru_cache(maxsize=4096)
def normal_form(source: str, ours: frozenset[str] = frozenset(), *, with_signature: bool = True) -> str:
    """Return what counts of the source of a function; `ours` are further names of what this package decorates with.

    Raises `SyntaxError`.
    """
    tree = ast.parse(source)
    if not with_signature and isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = tree.body[0].args
        arguments.defaults, arguments.kw_defaults, tree.body[0].returns = [], [], None
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            argument.annotation = None
    return form_of(tree, ours)


def form_of(tree: ast.Module, ours: frozenset[str] = frozenset()) -> str:
    """Return what counts of a syntax tree, and take all else out of it; `ours` as in `normal_form`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if not isinstance(node, ast.Module):
            node.decorator_list = [d for d in node.decorator_list if not _is_ours(d, ours)]
    return _dump(tree)


def _lambda_form(code: CodeType) -> str:
    """The normal form of a lambda: the innermost one of its line that has all of its bytecode in it.

    Of those that cannot be told apart it is that of all. Raises `OSError` when there is none, `SyntaxError`.
    """
    known = _lambdas("".join(linecache.getlines(code.co_filename)))
    around = [node for node in known if node.lineno == code.co_firstlineno]
    places = [
        ((line, column), (end_line or line, end))
        for line, end_line, column, end in code.co_positions()
        if line is not None and column is not None and end is not None and end > column
    ]
    if len(around) > 1 and places:
        start, end = min(first for first, _ in places), max(last for _, last in places)
        around = [
            node
            for node in around
            if (node.body.lineno, node.body.col_offset) <= start
            and end <= (node.body.end_lineno or 0, node.body.end_col_offset or 0)
        ]
    elif not places:  # as Python 3.12 has it where the body is a constant
        around = [node for node in around if isinstance(node.body, ast.Constant)] or around
    if not around:
        raise OSError("the lambda is not in its file")
    around.sort(key=lambda node: (node.body.lineno, node.body.col_offset))
    return _dump(around[-1] if places or len(around) == 1 else around)


@lru_cache(maxsize=64)
def _lambdas(source: str) -> tuple[ast.Lambda, ...]:
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Lambda))


def _dump(node: Any) -> str:
    """The text of a syntax tree; `ast.dump` writes another one in every version of Python."""
    if isinstance(node, ast.AST):
        return f"{type(node).__name__}({', '.join(_members(node))})"
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    return repr(node)


def _members(node: ast.AST) -> Iterator[str]:
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.JoinedStr):  # Python 3.12 has empty texts in it
            value = [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
        if name not in _NO_MEANING and value is not None and value != []:
            yield f"{name}={_dump(value)}"


def _is_ours(decorator: ast.expr, ours: frozenset[str]) -> bool:
    """Decorators of this package, and marks of pytest, say how a function is used, and not what it computes.

    Those that decide what is recorded as the outcome of a run count all the same.
    """
    path: list[str] = []
    while isinstance(decorator, ast.Call | ast.Attribute):
        if isinstance(decorator, ast.Attribute):
            path.append(decorator.attr)
        decorator = decorator.func if isinstance(decorator, ast.Call) else decorator.value
    if not isinstance(decorator, ast.Name):
        return False
    is_mark = decorator.id == "pytest" and path[-1:] == ["mark"]
    if is_mark and path[-2:-1] and path[-2] in MARKS_OF_OUTCOMES:
        return False
    return is_mark or decorator.id in ("experiment", "expedition") or decorator.id in ours


def _ours_of(item: Any) -> frozenset[str]:
    """Names by which the file of a function has what this package decorates with."""
    space = getattr(item, "__globals__", {})
    return frozenset(n for n, v in list(space.items()) if type(v).__module__ == "expedition.authoring.marker")


def _constants(code: CodeType) -> tuple[Any, ...]:
    return tuple(
        (c.co_code, c.co_names, _constants(c)) if isinstance(c, CodeType) else repr(c) for c in code.co_consts
    )
