"""The expression language of selections (`--where`, `--archive-select`, `Trajectory.find`).

A text is parsed by Python's own parser, each node is checked against a list of what is allowed, and what is
left becomes nested functions; Python itself never evaluates it. The grammar: names and dotted names, numbers,
texts, True, False, None, lists and tuples of constants, comparisons (chained too), `in`, `is None`,
`and or not`, `+ - * / // % **` on numbers, and `.startswith .endswith .contains` of a name.

A part that needs a name the record lacks, or cannot be computed (`1 < 'a'`, `1 / 0`), is *unknown*, as in SQL
(Kleene's three-valued logic): `unknown or True` is True, `unknown and False` is False, all else that is made
of it is unknown, and what is unknown at the end does not match.

Texts are compared as dates when both sides are dates, and as durations where the other side is one:
`started > '2026-11-01'`, `duration < '1h30m'`. Dates without a time zone are taken as UTC.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from expedition.authoring.evaluation import (
    ISO_DATE,
    UNKNOWN,
    Lookup,
    Node,
    compared,
    computed,
    connected,
    duration_seconds,
    iso_moment,
    plain,
)
from expedition.errors import ExpressionError, near_matches

MAX_CHARACTERS = 2_000
MAX_DEPTH = 50

_ALIASES = {"rep": "replicate"}
_ALLOWED = (
    "allowed are names, numbers, 'texts', True, False, None, lists, == != < <= > >=, in, is None, and, or, "
    "not, + - * / // % **, and name.startswith('…'), .endswith('…'), .contains('…')"
)

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MEMBERSHIP: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.In: lambda item, group: operator.contains(group, item),
    ast.NotIn: lambda item, group: not operator.contains(group, item),
}
_IDENTITY: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], object]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_METHODS: dict[str, Callable[[Any, str], object]] = {
    "startswith": str.startswith,  # of str itself: a value of another type is a TypeError, so unknown
    "endswith": str.endswith,
    "contains": operator.contains,
}

_NEWLINE = re.compile(r"\r\n|\r|\n")  # what ends a line for ast; splitlines() knows more

# What people write from other languages, tried when Python's parser refuses; texts in quotes are blanked out.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_HINTS = (
    (re.compile(r"(?<![=!<>:])=(?!=)"), "'=' does not compare; write '=='"),
    (re.compile(r"&&"), "write 'and' instead of '&&'"),
    (re.compile(r"\|\|"), "write 'or' instead of '||'"),
    (re.compile(r"<>"), "write '!=' instead of '<>'"),
    (re.compile(r"!(?!=)"), "write 'not' instead of '!'"),
)
_INSTEAD: dict[type[ast.operator], str] = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "**"}
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


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A compiled expression; `names` are the columns it asks for (the alias `rep` as `replicate`)."""

    text: str
    names: frozenset[str]
    _run: Node
    _places: dict[str, ast.expr] = field(default_factory=dict)
    _comparisons: list[tuple[ast.expr, frozenset[str], Node]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, lookup: Lookup) -> object:
        """Return the value, with `lookup(name)` for each name (which raises LookupError for a missing one).

        Raises LookupError, TypeError, ValueError or ArithmeticError when the value is unknown.
        """
        return self._run(lookup)

    def matches(self, record: Mapping[str, object] | Lookup) -> bool:
        """Return whether the value for `record` is true; False when it is unknown.

        A mapping may be flat (``{"params.alpha": 1}``) or nested (``{"params": {"alpha": 1}}``).
        """
        lookup = _mapping_lookup(record) if isinstance(record, Mapping) else record
        try:
            return bool(self._run(lookup))
        except UNKNOWN:
            return False


def compile_expression(text: str) -> Expression:
    """Compile the text of an expression.

    Raises ExpressionError, which shows the place and what is allowed, for all that is not in the language,
    and for texts of more than 2,000 characters or 50 levels.
    """
    text = text.strip()
    if not text:
        raise ExpressionError(f"the expression is empty; {_ALLOWED}")
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(
            f"the expression {text[:40]!r}… has {len(text):,} characters; {MAX_CHARACTERS:,} are "
            "allowed: select in several steps"
        )
    tree = _parse(text)
    compiler = _Compiler(text)
    run = compiler.compile(tree, 1)
    return Expression(text, frozenset(compiler.places), run, compiler.places, compiler.comparisons)


def check_names(expression: Expression, known: Iterable[str]) -> None:
    """Raise ExpressionError, with near matches, for the first name of `expression` that no record has."""
    names = set(known)
    for name, node in expression._places.items():
        if name not in names:
            near = near_matches(name, [*sorted(names), "True", "False", "None"])
            _fail(expression.text, node, f"no run has {name!r}{near}", remedy="")


def find_incomparable(
    expression: Expression, lookups: Callable[[], Iterable[Lookup]]
) -> tuple[str, frozenset[str]] | None:
    """Return the first comparison that can be made for no record, and the names in it; None without one.

    Records that lack one of the names, or have None for it, tell nothing.
    """
    for node, names, run in expression._comparisons:
        failed = False
        for lookup in lookups():
            try:
                if not any(lookup(name) is None for name in names):
                    bool(run(lookup))
                    break
            except (TypeError, ValueError):
                failed = True
            except UNKNOWN:
                continue
        else:
            if failed:
                return ast.get_source_segment(expression.text, node) or expression.text, names
    return None


# --- messages --------------------------------------------------------------------------------------------


def _pointed(text: str, line: int, column: int) -> str:
    """Return the line at fault with a caret below; `column` counts characters from 0."""
    shown = "".join(_NEWLINE.split(text)[line - 1 : line]).replace("\t", " ")
    start = max(0, column - 60)
    return f"\n    {shown[start : column + 60]}\n    {' ' * (column - start)}^"


def _fail(text: str, node: ast.expr, problem: str, remedy: str = _ALLOWED) -> NoReturn:
    line = _NEWLINE.split(text)[node.lineno - 1]
    column = len(line.encode()[: node.col_offset].decode(errors="replace"))  # ast counts bytes
    raise ExpressionError(
        f"{problem}{_pointed(text, node.lineno, column)}" + (f"\n{remedy}" if remedy else "")
    )


def _parse(text: str) -> ast.expr:
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
                raise ExpressionError(f"{hint}{_pointed(text, line, column)}\n{_ALLOWED}") from None
        place = _pointed(text, error.lineno or 1, max((error.offset or 1) - 1, 0))
        raise ExpressionError(f"the expression cannot be read: {error.msg}{place}\n{_ALLOWED}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL character; nested too deeply
        raise ExpressionError(f"the expression {text[:40]!r}… cannot be read: {error}; {_ALLOWED}") from None


# --- compiling -------------------------------------------------------------------------------------------


class _Compiler:
    def __init__(self, text: str) -> None:
        self.text = text
        self.places: dict[str, ast.expr] = {}  # where each name was first seen, for messages
        self.comparisons: list[tuple[ast.expr, frozenset[str], Node]] = []

    def compile(self, node: ast.expr, depth: int) -> Node:
        """Return the function of a node that is in the language."""
        if depth > MAX_DEPTH:
            _fail(self.text, node, f"the expression is nested more than {MAX_DEPTH} deep", "use fewer parts")
        name = self.name(node)
        if name is not None:
            self.places.setdefault(name, node)
            return lambda lookup: plain(lookup(name))
        if isinstance(node, ast.Constant | ast.List | ast.Tuple):
            constant = self.constant(node, depth)
            return lambda lookup: constant
        if isinstance(node, ast.BoolOp):
            parts = [self.compile(part, depth + 1) for part in node.values]
            decides = isinstance(node.op, ast.Or)  # the truth that ends the search
            return lambda lookup: connected(parts, decides, lookup)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            function, operand = _UNARY[type(node.op)], self.compile(node.operand, depth + 1)
            return lambda lookup: function(operand(lookup))
        if isinstance(node, ast.BinOp):
            return self.arithmetic(node, depth)
        if isinstance(node, ast.Compare):
            return self.comparison(node, depth)
        if isinstance(node, ast.Call):
            return self.method(node, depth)
        _fail(self.text, node, f"{_called(node)} is not part of the expression language")

    def name(self, node: ast.expr) -> str | None:
        """Return the dotted name a node is, or None."""
        parts = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            return None
        parts.append(inner.id)
        if any(part.startswith("_") for part in parts):
            _fail(self.text, node, "names that begin with '_' are not part of the expression language")
        dotted = ".".join(reversed(parts))
        return _ALIASES.get(dotted, dotted)

    def constant(self, node: ast.expr, depth: int) -> object:
        if depth > MAX_DEPTH:
            _fail(self.text, node, f"the expression is nested more than {MAX_DEPTH} deep", "use fewer parts")
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            items = [self.constant(item, depth + 1) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        if (
            isinstance(node, ast.UnaryOp)
            and isinstance(node.op, ast.USub | ast.UAdd)
            and isinstance(node.operand, ast.Constant)
            and isinstance(node.operand.value, int | float)
        ):
            return _UNARY[type(node.op)](node.operand.value)
        _fail(self.text, node, "only texts, numbers, True, False and None are constants of an expression")

    def arithmetic(self, node: ast.BinOp, depth: int) -> Node:
        function = _ARITHMETIC.get(type(node.op))
        if function is None:
            instead = _INSTEAD.get(type(node.op))
            hint = f"; write {instead!r}" if instead else ""
            _fail(self.text, node, f"{_called(node)} is not part of the expression language{hint}")
        left, right = self.compile(node.left, depth + 1), self.compile(node.right, depth + 1)
        return lambda lookup: computed(function, left(lookup), right(lookup))

    def comparison(self, node: ast.Compare, depth: int) -> Node:
        operands = [node.left, *node.comparators]
        first, *others = [self.compile(operand, depth + 1) for operand in operands]
        steps: list[tuple[Callable[[Any, Any], object], Node]] = []
        for index, (kind, run) in enumerate(zip(node.ops, others, strict=True)):
            left, right = operands[index], operands[index + 1]
            if type(kind) in _ORDER:
                durations = self.has_duration(left) or self.has_duration(right)
                self.check_texts(kind, (left, right), durations)
                function = functools.partial(compared, _ORDER[type(kind)], durations)
            elif type(kind) in _MEMBERSHIP:
                function = functools.partial(_MEMBERSHIP[type(kind)])
            elif isinstance(right, ast.Constant) and right.value is None:
                function = functools.partial(_IDENTITY[type(kind)])
            else:
                _fail(self.text, right, "'is' is for None only; write '=='")
            steps.append((function, run))

        def run_chain(lookup: Lookup) -> object:
            left_value, result = first(lookup), None
            for number, (function, operand) in enumerate(steps):
                if number and not result:  # as in Python: a < b < c is a < b and b < c
                    return result
                right_value = operand(lookup)
                result = function(left_value, right_value)
                left_value = right_value
            return result

        return self.noted(node, run_chain)

    def noted(self, node: ast.expr, run: Node) -> Node:
        """Keep a comparison with the names in it, and return it."""
        self.comparisons.append((node, frozenset(self.names(node)), run))
        return run

    def names(self, node: ast.expr) -> Iterator[str]:
        """Yield the names in a node."""
        name = self.name(node)
        if name is not None:
            yield name
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from self.names(node.func.value)
            return
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                yield from self.names(part)

    def method(self, node: ast.Call, depth: int) -> Node:
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr not in _METHODS:
            _fail(self.text, node, "functions are not part of the expression language")
        if self.name(function.value) is None:
            _fail(self.text, node, f".{function.attr}(…) is for names only")
        argument = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
            _fail(self.text, node, f".{function.attr}(…) takes one text in quotes")
        apply, text = _METHODS[function.attr], argument.value
        subject = self.compile(function.value, depth + 1)
        return self.noted(function.value, lambda lookup: apply(subject(lookup), text))

    def has_duration(self, node: ast.expr) -> bool:
        name = self.name(node)
        if name is not None:
            return name == "duration" or name.endswith(".duration")
        return any(
            self.has_duration(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)
        )

    def check_texts(self, kind: ast.cmpop, operands: tuple[ast.expr, ast.expr], durations: bool) -> None:
        """Refuse texts that were meant as a duration or a date, and are none."""
        for node in operands:
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str):
                continue
            if durations and duration_seconds(text) is None:
                _fail(self.text, node, f"{text!r} is no duration", "write '2h', '30m', '1.5s', '2d', '1h30m'")
            ordered = not isinstance(kind, ast.Eq | ast.NotEq)
            if not durations and ordered and ISO_DATE.match(text) and iso_moment(text) is None:
                _fail(self.text, node, f"there is no such date as {text!r}", "write '2026-11-30T14:30'")


def _called(node: ast.expr) -> str:
    """Name a kind of node as its writer would."""
    kind = type(node.op if isinstance(node, ast.BinOp | ast.UnaryOp) else node).__name__
    return _WORDS.get(kind, kind.lower())


def _mapping_lookup(record: Mapping[str, object]) -> Lookup:
    def lookup(name: str) -> object:
        if name in record:
            return record[name]
        value: object = record
        for part in name.split("."):
            if not isinstance(value, Mapping):
                raise KeyError(name)
            value = value[part]
        return value

    return lookup
