"""Masking in files of code: they lose secrets, and stay the code that can be imported again."""

from __future__ import annotations

import ast
import io
import json
import tokenize
import warnings
from collections.abc import Iterator
from itertools import accumulate

from expedition.recording.masking import MASKED, Mask

_Change = tuple[int, int, str]
"""Start and end in the text, and what takes the place of what stands there."""

_CODE = frozenset({tokenize.NAME, tokenize.OP, tokenize.NUMBER})
_LITERAL = f'"{MASKED}"'


def masked_source(content: bytes, suffix: str, mask: Mask) -> bytes:
    """Return the content of a file of an experiment's code, with a name that ends in `suffix`, without secrets.

    In Python secrets are masked in texts, comments and numbers; the name of a function that has one in it keeps it,
    since the code would be none without. Literals that are values of a variable or argument annotated ``Secret`` are
    masked in any case: the value of a run may be another, and the file that of another experiment. In YAML a value
    without quotes gets some. What cannot be parsed is masked as any text.
    """
    if not mask and not (suffix == ".py" and b"Secret" in content):
        return content
    try:
        if suffix == ".py":
            return _python(content, mask)
        if suffix in (".yml", ".yaml"):
            return _yaml(content.decode("utf-8"), mask).encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return mask.content(content)


def _python(content: bytes, mask: Mask) -> bytes:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    text = content.decode(encoding)
    tree = _parsed(text)
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    tokens = [
        (starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1], token)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type in _CODE
    ]
    changes: list[_Change] = []
    for node in _literals(tree):
        first, last = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        # Columns of the tree are counted in bytes of UTF-8.
        start, end = (
            starts[row - 1] + len(lines[row - 1].encode()[:at].decode()) for row, at in (first, last)
        )
        changes.append((start, end, f"b{_LITERAL}" if isinstance(node.value, bytes) else _LITERAL))
    is_code = bytearray(len(text))
    for start, end, token in tokens:
        is_code[start:end] = b"\1" * (end - start)
        if token.type == tokenize.NUMBER and mask.text(str(ast.literal_eval(token.string))) == MASKED:
            changes.append((start, end, _LITERAL))
    for start, end in mask.spans(text):
        if not all(is_code[place] or text[place].isspace() for place in range(start, end)):
            changes.append((start, end, MASKED))
    masked = _changed(text, changes)
    _parsed(masked)
    return masked.encode(encoding)


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the escapes of the user's texts
        return ast.parse(text)


def _literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the literals that are values, or stand in for one, of what is annotated ``Secret``."""
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(annotation=annotation, value=ast.expr() as value) if _says_secret(annotation):
                yield from _values(value)
            case ast.arguments():
                positional = [*node.posonlyargs, *node.args]
                without = len(positional) - len(node.defaults)
                defaults = [*[None] * without, *node.defaults, *node.kw_defaults]
                for argument, default in zip([*positional, *node.kwonlyargs], defaults, strict=True):
                    if default is not None and argument.annotation and _says_secret(argument.annotation):
                        yield from _values(default)


def _says_secret(annotation: ast.expr) -> bool:
    return "Secret" in ast.unparse(annotation)


def _values(value: ast.expr) -> Iterator[ast.Constant]:
    match value:
        case ast.Constant(value=str() | bytes() | int() | float() | complex() as literal):
            if not isinstance(literal, bool):
                yield value
        case ast.Call(args=[_, *others], keywords=keywords):
            # The first argument is the name: getenv("KEY", "…")
            for part in [*others, *(keyword.value for keyword in keywords)]:
                yield from _values(part)
        case ast.BoolOp(values=parts):
            for part in parts:
                yield from _values(part)
        case ast.IfExp(body=body, orelse=other):
            yield from _values(body)
            yield from _values(other)


def _yaml(text: str, mask: Mask) -> str:
    import yaml

    changes: list[_Change] = []
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.ScalarToken) and token.plain:
                start, end = token.start_mark.index, token.end_mark.index
                if (shown := mask.text(text[start:end])) != text[start:end]:
                    changes.append((start, end, json.dumps(shown)))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return _changed(text, [*changes, *((start, end, MASKED) for start, end in mask.spans(text))])


def _changed(text: str, changes: list[_Change]) -> str:
    """Return a text with its changes; of those that overlap the first one counts."""
    parts: list[str] = []
    done = 0
    for start, end, new in sorted(changes, key=lambda change: (change[0], -change[1])):
        if start >= done:
            parts += [text[done:start], new]
            done = end
    return "".join([*parts, text[done:]])
