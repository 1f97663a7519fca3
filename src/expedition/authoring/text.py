"""Reading the text of options and config files: one YAML loader, and `NAME=VALUE`.

The loader knows the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) and nothing
else: no `yes`, no `1:30` that means 90, no dates, no tags that make objects.
"""

from __future__ import annotations

import functools
import keyword
import math
import os
import re
from typing import TYPE_CHECKING

from expedition.errors import ExperimentError

if TYPE_CHECKING:
    import yaml

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)

_MAX_CHARACTERS = 16_000_000
_MAX_DEPTH = 100
_MAX_REPEATED = 10_000  # nodes that aliases may repeat: a bomb of nested aliases has billions

_EXPERIMENT_NAME = re.compile(r"[\w./-]+\Z")


def load_yaml(text: str, *, source: str) -> object:
    """Return the value of a YAML 1.2 document: dicts, lists, str, int, float, bool and None only.

    Aliases give copies. `source` is how messages call the text: a path, or an option.
    Raises ExperimentError, naming source and line, for malformed text, repeated keys, merge keys (``<<``),
    tags outside the core schema, several documents, and aliases or depth beyond any honest file.
    """
    return load_document(text, source=source)[0]


def load_document(text: str, *, source: str) -> tuple[object, dict[tuple[object, ...], int]]:
    """Return what `load_yaml` returns, and the line of each key and list item, by the keys on the way to it.

    Lines count from 1. Raises as `load_yaml` does.
    """
    import yaml

    if len(text) > _MAX_CHARACTERS:
        raise ExperimentError(f"{source}: the text has {len(text):,} characters; that is no config file")
    try:
        root = yaml.compose(text, _loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise _error(source, mark.line if mark else 0, problem) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) if isinstance(error.position, int) else 0
        raise _error(source, line, f"{error.reason}; remove the character") from None
    except RecursionError:
        raise _error(source, 0, "the lists and mappings are nested too deeply") from None
    construction = _Construction(source)
    value = None if root is None else construction.value(root, 1)
    return value, construction.lines


def is_quoted(text: str) -> bool:
    """Return whether `text` is one quoted YAML scalar, such as ``'3'`` or ``"a b"``."""
    if text.strip()[:1] not in {"'", '"'}:
        return False  # without importing yaml, for almost every text
    import yaml

    try:
        root = yaml.compose(text, _loader())
    except (yaml.YAMLError, RecursionError):
        return False
    return isinstance(root, yaml.ScalarNode)


def load_mapping_file(path: str | os.PathLike[str]) -> dict[str, object]:
    """Return the mapping a YAML file holds, for `--params-file`.

    Raises ExperimentError, naming the path, for a file that is missing, unreadable, not UTF-8, not a mapping
    or has keys that are not text.
    """
    source = os.fspath(path)
    try:
        with open(source, encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        raise ExperimentError(f"{source}: no such file; relative paths start at {os.getcwd()}") from None
    except UnicodeDecodeError as error:
        raise ExperimentError(
            f"{source}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        ) from None
    except OSError as error:
        raise ExperimentError(f"{source}: cannot be read ({error.strerror}); give a YAML file") from error
    value = load_yaml(text, source=source)
    if not isinstance(value, dict):
        found = "is empty" if value is None else f"holds a {type(value).__name__}"
        raise ExperimentError(f"{source}: {found}, not a mapping; write lines such as 'alpha: 0.1'")
    for key in value:
        if not isinstance(key, str):
            raise ExperimentError(
                f"{source}: the key {key!r} is a {type(key).__name__}, not a name; put quotes around it if "
                "it is one"
            )
    return value


def split_assignment(text: str) -> tuple[str | None, str, str]:
    """Split ``NAME=VALUE`` or ``exp_ridge:NAME=VALUE`` into experiment (or None), name and raw text.

    The raw text is everything after the first ``=``, unchanged.
    Raises ExperimentError when there is no ``=`` or the name cannot be one of a parameter.
    """
    left, equals, raw = text.partition("=")
    if not equals:
        raise ExperimentError(f"{text!r}: there is no '='; write NAME=VALUE, such as alpha=0.1")
    experiment, colon, name = left.strip().rpartition(":")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ExperimentError(
            f"{text!r}: {name!r} cannot be the name of a parameter; write NAME=VALUE or "
            "EXPERIMENT:NAME=VALUE, without spaces"
        )
    if colon and not _EXPERIMENT_NAME.match(experiment):
        raise ExperimentError(
            f"{text!r}: {experiment!r} cannot be the name of an experiment; write EXPERIMENT:NAME=VALUE, "
            "such as exp_ridge:alpha=0.1"
        )
    return (experiment if colon else None), name, raw


def _error(source: str, line: int, problem: str) -> ExperimentError:
    return ExperimentError(f"{source}, line {line + 1}: {problem}")


def _core_tag(text: str) -> str:
    """Return the tag of a plain scalar by the core schema."""
    for pattern, name in ((_NULL, "null"), (_BOOL, "bool"), (_INT, "int"), (_FLOAT, "float")):
        if pattern.match(text):
            return _TAG + name
    return _TAG + "str"


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    """Make the loader class on first use, since yaml is imported late."""
    import yaml

    class CoreLoader(yaml.SafeLoader):
        """PyYAML's parser with the implicit types of YAML 1.2 in place of those of YAML 1.1."""

        def resolve(self, kind: type[yaml.Node], value: str, implicit: object) -> str:
            if kind is yaml.ScalarNode:
                plain = isinstance(implicit, tuple) and implicit[0]
                return _core_tag(value) if plain else _TAG + "str"
            return _TAG + ("seq" if kind is yaml.SequenceNode else "map")

        def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
            if self.flow_level >= _MAX_DEPTH:  # the scanner reads far ahead of what would refuse the depth
                raise yaml.MarkedYAMLError(
                    problem="the lists and mappings are nested too deeply", problem_mark=self.get_mark()
                )
            super().fetch_flow_collection_start(token)

    return CoreLoader


class _Construction:
    """Makes plain values from the nodes of one document."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: set[int] = set()  # nodes being made: an alias to one of them has no end
        self.done: set[int] = set()
        self.repeated = 0
        self.path: tuple[object, ...] = ()
        self.lines: dict[tuple[object, ...], int] = {}

    def below(self, key: object, place: yaml.Node, node: yaml.Node, depth: int) -> object:
        """Make the value of a member, and note in which line it stands."""
        before, self.path = self.path, (*self.path, key)
        self.lines[self.path] = place.start_mark.line + 1
        value = self.value(node, depth + 1)
        self.path = before
        return value

    def error(self, node: yaml.Node, problem: str) -> ExperimentError:
        return _error(self.source, node.start_mark.line, problem)

    def value(self, node: yaml.Node, depth: int) -> object:
        import yaml

        if id(node) in self.open:
            raise self.error(node, "the value contains itself by an alias; write it out")
        if id(node) in self.done:
            self.repeated += 1
            if self.repeated > _MAX_REPEATED:
                raise self.error(node, f"aliases repeat more than {_MAX_REPEATED:,} values; write them out")
        if depth > _MAX_DEPTH:
            raise self.error(node, f"lists and mappings are nested more than {_MAX_DEPTH} deep")
        self.open.add(id(node))
        made: object
        if isinstance(node, yaml.ScalarNode):
            made = self.scalar(node)
        elif isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            made = [self.below(number, item, item, depth) for number, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            made = self.mapping(node, depth)
        else:
            raise self.unknown_tag(node)
        self.open.discard(id(node))
        self.done.add(id(node))
        return made

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[object, object]:
        import yaml

        made: dict[object, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a list or mapping cannot be a key; use text")
            if key_node.value == "<<" and key_node.style is None:
                raise self.error(key_node, "merge keys (<<) are not part of YAML 1.2; write the keys out")
            key = self.value(key_node, depth + 1)
            if key in made:
                raise self.error(key_node, f"the key {key!r} is given twice; remove one of them")
            made[key] = self.below(key, key_node, value_node, depth)
        return made

    def scalar(self, node: yaml.ScalarNode) -> object:
        text = node.value
        kind = node.tag.removeprefix(_TAG) if node.tag.startswith(_TAG) else ""
        if kind == "str":
            return self.text(node)
        if kind == "null" and _NULL.match(text):
            return None
        if kind == "bool" and _BOOL.match(text):
            return text.lower() == "true"
        if kind == "int" and _INT.match(text):
            try:  # 0o17 and 0x1f say their base; a decimal may begin with zeros
                return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
            except ValueError:  # Python's limit for decimal digits
                raise self.error(node, f"the integer has {len(text):,} digits, which is too many") from None
        if kind == "float" and _FLOAT.match(text):
            number = _float(text)
            if math.isinf(number) and "inf" not in text.lower():
                raise self.error(node, f"{text} is too large for a float; infinity is written .inf")
            return number
        if kind in {"null", "bool", "int", "float"}:
            raise self.error(node, f"{text!r} is no {kind}, as its tag says")
        raise self.unknown_tag(node)

    def text(self, node: yaml.ScalarNode) -> str:
        """Join what JSON escapes as two halves (``"\\ud83d\\ude00"``), which PyYAML leaves apart."""
        text: str = node.value
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.error(node, "half of a surrogate pair is no character; write the whole") from None

    def unknown_tag(self, node: yaml.Node) -> ExperimentError:
        tag = node.tag.replace(_TAG, "!!")
        return self.error(node, f"the tag {tag} is not allowed; only plain values are read, never objects")


def _float(text: str) -> float:
    lowered = text.lower()
    if lowered.endswith("nan"):
        return math.nan
    return float(lowered.replace(".inf", "inf"))
