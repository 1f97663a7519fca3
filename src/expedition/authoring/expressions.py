"""The expression language of selections (`--where`, `--archive-select`, `Trajectory.find`).

A text is parsed by Python's own parser, each node is checked against a list of what is allowed, and what is
left becomes nested functions; Python itself never evaluates it. The grammar: names and dotted names (a part that is
no Python name in brackets: ``data['two words']``; ``data['a.b']`` has the dot in its name, ``data.a.b`` is ``b`` of
``a``), numbers, texts, True, False, None, lists and tuples of constants, comparisons (chained too), `in`, `is None`,
`and or not`, `+ - * / // % **` on numbers, and `.startswith .endswith .contains` of a name.

A part that needs a name the record lacks, or cannot be computed (`1 < 'a'`, `1 / 0`), is *unknown*, as in SQL
(Kleene's three-valued logic): `unknown or True` is True, `unknown and False` is False, all else that is made
of it is unknown, and what is unknown at the end does not match.

Texts are compared as dates when both sides are dates, and as durations where the other side is one:
`started > '2026-11-01'`, `duration < '1h30m'`, also in `in ['1h', '2h']`. Dates without a time zone are taken as UTC.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from expedition.authoring.evaluation import (
    ISO_DATE,
    UNKNOWN,
    Lookup,
    Node,
    compared,
    computed,
    connected,
    contained,
    duration_seconds,
    has_text,
    iso_moment,
    plain,
    text_of,
)
from expedition.authoring.quoting import PARAMETERS, join_parts, split_name
from expedition.authoring.refusals import ALLOWED, called, parse, refusal
from expedition.errors import ExpressionError, near_matches

MAX_CHARACTERS = 2_000
MAX_DEPTH = 50

_ALIASES = {"rep": "replicate"}

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MEMBERSHIP: dict[type[ast.cmpop], Callable[[bool, Any, Any], object]] = {
    ast.In: contained,
    ast.NotIn: lambda durations, item, group: not contained(durations, item, group),
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
    "contains": has_text,
}


_NO_CHOICES: Mapping[str, Collection[str]] = {}
_INSTEAD: dict[type[ast.operator], str] = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "**"}


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


def compile_expression(
    text: str, *, moments: Collection[str] = (), choices: Mapping[str, Collection[str]] = _NO_CHOICES
) -> Expression:
    """Compile the text of an expression; `moments` are names that are known to be dates with time.

    `choices` are the texts that names can be: a comparison with another one is a slip.

    Raises ExpressionError, which shows the place and what is allowed, for all that is not in the language,
    and for texts of more than 2,000 characters or 50 levels.
    """
    text = text.strip()
    if not text:
        raise ExpressionError(f"the expression is empty; {ALLOWED}")
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(
            f"the expression {text[:40]!r}… has {len(text):,} characters; {MAX_CHARACTERS:,} are "
            "allowed: select in several steps"
        )
    tree = parse(text)
    compiler = _Compiler(text, frozenset(moments), choices)
    run = compiler.compile(tree, 1)
    return Expression(text, frozenset(compiler.places), run, compiler.places, compiler.comparisons)


def check_names(expression: Expression, known: Iterable[str]) -> None:
    """Raise ExpressionError, with near matches, for the first name of `expression` that no record has."""
    names = set(known)
    for name, node in expression._places.items():
        if name not in names:
            near = near_matches(name, [*sorted(names), "True", "False", "None"])
            compared_to = isinstance(node, ast.Name) and _is_right_side(expression, node)
            remedy = f"a text is written in quotes: '{name}'" if compared_to else ""
            raise refusal(expression.text, node, f"no run has {name!r}{near}", remedy=remedy)


def _is_right_side(expression: Expression, node: ast.expr) -> bool:
    """Whether something is compared with the node."""
    comparisons = [each for each, _, _ in expression._comparisons if isinstance(each, ast.Compare)]
    return any(side is node for each in comparisons for side in each.comparators)


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


# --- compiling -------------------------------------------------------------------------------------------


class _Compiler:
    def __init__(self, text: str, moments: frozenset[str], choices: Mapping[str, Collection[str]]) -> None:
        self.text = text
        self.moments = moments
        self.choices = choices
        self.places: dict[str, ast.expr] = {}  # where each name was first seen, for messages
        self.comparisons: list[tuple[ast.expr, frozenset[str], Node]] = []

    def compile(self, node: ast.expr, depth: int) -> Node:
        """Return the function of a node that is in the language."""
        if depth > MAX_DEPTH:
            raise refusal(
                self.text, node, f"the expression is nested more than {MAX_DEPTH} deep", "use fewer parts"
            )
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
        raise refusal(self.text, node, f"{called(node)} is not part of the expression language")

    def name(self, node: ast.expr) -> str | None:
        """Return the dotted name a node is, or None."""
        parts, quoted = [], []
        inner = node
        while True:
            if isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
            elif (
                isinstance(inner, ast.Subscript)
                and isinstance(inner.slice, ast.Constant)
                and isinstance(inner.slice.value, str)
            ):
                parts.append(inner.slice.value)
                quoted.append(inner.slice.value)
            else:
                break
            inner = inner.value
        if not isinstance(inner, ast.Name):
            return None
        parts.append(inner.id)
        if any(part.startswith("_") for part in parts if part not in quoted):
            raise refusal(
                self.text, node, "names that begin with '_' are not part of the expression language"
            )
        parts.reverse()
        # The dots of a parameter are no groups, so brackets make no other name of it.
        dotted = ".".join(parts) if parts[0] in PARAMETERS else join_parts(parts)
        return _ALIASES.get(dotted, dotted)

    def constant(self, node: ast.expr, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise refusal(
                self.text, node, f"the expression is nested more than {MAX_DEPTH} deep", "use fewer parts"
            )
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
        quotes = f"; a text is written in quotes: '{node.id}'" if isinstance(node, ast.Name) else ""
        raise refusal(
            self.text,
            node,
            f"only texts, numbers, True, False and None are constants of an expression{quotes}",
        )

    def arithmetic(self, node: ast.BinOp, depth: int) -> Node:
        function = _ARITHMETIC.get(type(node.op))
        if function is None:
            instead = _INSTEAD.get(type(node.op))
            hint = f"; write {instead!r}" if instead else ""
            raise refusal(self.text, node, f"{called(node)} is not part of the expression language{hint}")
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
                self.check_choice(left, right)
                self.check_choice(right, left)
                function = functools.partial(compared, _ORDER[type(kind)], durations)
            elif type(kind) in _MEMBERSHIP:
                durations = self.has_duration(left)
                for item in right.elts if isinstance(right, ast.List | ast.Tuple) else ():
                    self.check_texts(ast.Eq(), (left, item), durations)
                    self.check_choice(left, item)
                function = functools.partial(_MEMBERSHIP[type(kind)], durations)
            elif isinstance(right, ast.Constant) and right.value is None:
                function = functools.partial(_IDENTITY[type(kind)])
            else:
                raise refusal(self.text, right, "'is' is for None only; write '=='")
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
            raise refusal(self.text, node, "functions are not part of the expression language")
        if self.name(function.value) is None:
            raise refusal(self.text, node, f".{function.attr}(…) is for names only")
        argument = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
            raise refusal(self.text, node, f".{function.attr}(…) takes one text in quotes")
        apply, text = _METHODS[function.attr], argument.value
        subject = self.compile(function.value, depth + 1)
        return self.noted(function.value, lambda lookup: apply(text_of(subject(lookup)), text))

    def has_duration(self, node: ast.expr) -> bool:
        name = self.name(node)
        if name is not None:
            return name == "duration" or name.endswith(".duration")
        return any(
            self.has_duration(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)
        )

    def check_choice(self, subject: ast.expr, text: ast.expr) -> None:
        """Refuse a text that what is compared with it can never be."""
        name = self.name(subject)
        known = self.choices.get(name) if name is not None else None
        if known is None or not isinstance(text, ast.Constant) or not isinstance(text.value, str):
            return
        if text.value not in known:
            problem = f"there is no {name} {text.value!r}{near_matches(text.value, known)}"
            raise refusal(self.text, text, problem, f"it is one of {', '.join(known)}")

    def check_texts(self, kind: ast.cmpop, operands: tuple[ast.expr, ast.expr], durations: bool) -> None:
        """Refuse texts that were meant as a duration or a date, and are none."""
        ordered = not isinstance(kind, ast.Eq | ast.NotEq)
        moments = any(self.name(node) in self.moments for node in operands)
        for node in operands:
            if moments and _is_number(node):
                raise refusal(
                    self.text,
                    node,
                    "a date is a text, not a number",
                    "write '2026-11-30' or '2026-11-30T14:30'",
                )
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str):
                continue
            if durations and duration_seconds(text) is None:
                raise refusal(
                    self.text, node, f"{text!r} is no duration", "write '2h', '30m', '1.5s', '2d', '1h30m'"
                )
            if moments and ordered and not ISO_DATE.match(text):
                raise refusal(
                    self.text, node, f"{text!r} is no date", "write '2026-11-30' or '2026-11-30T14:30'"
                )
            if not durations and ordered and ISO_DATE.match(text) and iso_moment(text) is None:
                raise refusal(
                    self.text, node, f"there is no such date as {text!r}", "write '2026-11-30T14:30'"
                )


def _is_number(node: ast.expr) -> bool:
    """Tell whether a node is a number, or made of numbers only: a date without quotes is."""
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _mapping_lookup(record: Mapping[str, object]) -> Lookup:
    def lookup(name: str) -> object:
        if name in record:
            return record[name]
        parts = split_name(name) or [name]
        if ".".join(parts) in record:
            return record[".".join(parts)]
        value: object = record
        for part in parts:
            if not isinstance(value, Mapping):
                raise KeyError(name)
            value = value[part]
        return value

    return lookup
