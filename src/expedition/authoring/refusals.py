"""Why an expression is refused: the problem, the place with a caret below it, and what is allowed instead."""

from __future__ import annotations

import ast
import re
import warnings

from expedition.errors import ExpressionError

ALLOWED = (
    "allowed are names, numbers, 'texts', True, False, None, lists, == != < <= > >=, in, is None, and, or, "
    "not, + - * / // % **, name.startswith('…'), .endswith('…'), .contains('…'), and name['two words']"
)

_NEWLINE = re.compile(r"\r\n|\r|\n")  # what ends a line for ast; splitlines() knows more

# What people write from other languages, tried when Python's parser refuses; texts in quotes are blanked out.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_HINTS = (
    (re.compile(r"[‘’“”„«»]"), "quotes are ' and \""),
    (re.compile(r"≤"), "write '<=' instead of '≤'"),
    (re.compile(r"≥"), "write '>=' instead of '≥'"),
    (re.compile(r"≠"), "write '!=' instead of '≠'"),
    (re.compile(r"(?<![\w.])\d{4}-\d\d-\d\d"), "a date is a text; write it in quotes: '2026-11-30'"),
    (
        re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:us|ms|[smhdw])(?![\w.])"),
        "a duration is a text; write '2h' in quotes",
    ),
    (re.compile(r"(?<![=!<>:])=(?!=)"), "'=' does not compare; write '=='"),
    (re.compile(r"&&"), "write 'and' instead of '&&'"),
    (re.compile(r"\|\|"), "write 'or' instead of '||'"),
    (re.compile(r"<>"), "write '!=' instead of '<>'"),
    (re.compile(r"!(?!=)"), "write 'not' instead of '!'"),
)
_WORDS = {
    "Attribute": "an attribute of what is no name",
    "BitAnd": "'&'",
    "BitOr": "'|'",
    "BitXor": "'^'",
    "Constant": "this constant",
    "Dict": "{…}",
    "GeneratorExp": "a comprehension",
    "IfExp": "if … else",
    "Invert": "'~'",
    "JoinedStr": "an f-string",
    "LShift": "'<<'",
    "ListComp": "a comprehension",
    "MatMult": "'@'",
    "NamedExpr": "':='",
    "RShift": "'>>'",
    "Set": "{…}",
    "Subscript": "[…] after a value",
}


def _pointed(text: str, line: int, column: int) -> str:
    """Return the line at fault with a caret below; `column` counts characters from 0."""
    shown = "".join(_NEWLINE.split(text)[line - 1 : line]).replace("\t", " ")
    start = max(0, column - 60)
    return f"\n    {shown[start : column + 60]}\n    {' ' * (column - start)}^"


def refusal(text: str, node: ast.expr, problem: str, remedy: str = ALLOWED) -> ExpressionError:
    """Return the error for a part of an expression, which shows where it stands."""
    line = _NEWLINE.split(text)[node.lineno - 1]
    column = len(line.encode()[: node.col_offset].decode(errors="replace"))  # ast counts bytes
    return ExpressionError(
        f"{problem}{_pointed(text, node.lineno, column)}" + (f"\n{remedy}" if remedy else "")
    )


def parse(text: str) -> ast.expr:
    """Return the tree of an expression. Raises `ExpressionError`, with a hint for what other languages write."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of '\d' and the like: a backslash is a backslash here
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        blanked = _QUOTED.sub(lambda match: " " * len(match[0]), text)
        for pattern, hint in _HINTS:
            if found := pattern.search(blanked):
                line = text.count("\n", 0, found.start()) + 1
                column = found.start() - (text.rfind("\n", 0, found.start()) + 1)
                raise ExpressionError(f"{hint}{_pointed(text, line, column)}\n{ALLOWED}") from None
        place = _pointed(text, error.lineno or 1, max((error.offset or 1) - 1, 0))
        raise ExpressionError(f"the expression cannot be read: {error.msg}{place}\n{ALLOWED}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL character; nested too deeply
        raise ExpressionError(f"the expression {text[:40]!r}… cannot be read: {error}; {ALLOWED}") from None


def called(node: ast.expr) -> str:
    """Name a kind of node as its writer would."""
    kind = type(node.op if isinstance(node, ast.BinOp | ast.UnaryOp) else node).__name__
    return _WORDS.get(kind, kind.lower())
