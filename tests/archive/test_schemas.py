"""The shipped JSON schemas, against what real sweeps write, and against what they must not."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from referencing import Registry, Resource

from expedition.archive.schemas import load_schemas, schema_names, schema_path
from expedition.errors import RecordNotFoundError
from expedition.recording import layout
from expedition.values import decode, dumps, encode, loads
from expedition.values.tagged import _DECODERS
from tests.thoroughness import examples
from tests.values.test_tagged import EDGES, FRAMES, SPARSE, values

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

_JSON = {layout.META_FILE: "run-meta", layout.DATA_FILE: "run-data", layout.SWEEP_FILE: "sweep"}
_LINES = {
    layout.JOURNAL_FILE: "journal-line",
    layout.INVOCATIONS_FILE: "invocation-line",
    layout.EXPANSIONS_FILE: "expansion-line",
    layout.NOTES_FILE: "note-line",
}


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schemas = load_schemas()
    registry = Registry().with_resources(
        (uri, Resource.from_contents(schema)) for uri, schema in schemas.items()
    )
    return jsonschema.Draft202012Validator(schemas[f"urn:pytest-expedition:{name}"], registry=registry)


def faults(name: str, document: object) -> str:
    """What a schema has against a document, down to the deepest reasons."""
    texts = []
    for error in validator(name).iter_errors(document):
        best = jsonschema.exceptions.best_match([error]) or error
        texts.append(f"{best.json_path}: {best.message}"[:300])
    return "\n".join(texts)


def documents(root: Path) -> Iterator[tuple[str, Path, Any]]:
    """Every JSON file and line of an archive, with the name of its schema."""
    for file in sorted(root.rglob("*.json*")):
        if "notes" in file.parts or "source" in file.parts or ".expedition" in file.parts:
            continue
        if file.name in _JSON:
            yield _JSON[file.name], file, json.loads(file.read_bytes())
        elif file.suffix == ".jsonl":
            name = "commit-line" if file.parent.name == layout.JOURNALS_FOLDER else _LINES[file.name]
            for line in file.read_bytes().splitlines():
                yield name, file, json.loads(line)


@pytest.fixture(scope="session")
def written(wide: Path) -> dict[str, list[Any]]:
    """Every JSON document of that archive by schema."""
    found: dict[str, list[Any]] = {}
    for name, _, document in documents(wide):
        found.setdefault(name, []).append(document)
    return found


def test_every_schema_is_one() -> None:
    for name in schema_names():
        schema = json.loads(schema_path(name).read_bytes())
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:pytest-expedition:{name}"
        assert schema["title"]
        assert schema["description"]
    with pytest.raises(RecordNotFoundError, match=r"no schema 'run-mata' \(did you mean 'run-meta'"):
        schema_path("run-mata")


def test_all_that_is_written_is_valid(wide: Path) -> None:
    seen = set()
    for name, file, document in documents(wide):
        assert not faults(name, document), f"{file}\n{faults(name, document)}"
        seen.add(name)
    assert seen == set(schema_names()) - {"tagged-json", "experiment-config"}


def test_the_archive_has_what_can_stand_in_one(written: dict[str, list[Any]]) -> None:
    """Else the test above would prove little."""
    metas = written["run-meta"]
    statuses = {meta["status"] for meta in metas}
    assert statuses == {"running", "done", "failed", "pruned", "skipped", "crashed"}
    assert {event["e"] for event in written["journal-line"]} == {
        *("store", "drop", "track", "commit", "open", "derived", "annotate", "tag", "note", "inputs")
    }
    assert {line["e"] for line in written["note-line"]} == {"annotate", "link", "unlink"}
    assert {m for meta in metas for m in meta["experiment"]} >= {
        *("analysis", "hooks", "debug", "testing", "prefix", "version")
    }
    assert {m for meta in metas for m in meta["outcome"]} >= {"criterion", "reason", "error"}
    assert properties("run-meta") == {member for meta in metas for member in meta}
    edits = [edit for meta in metas for edit in meta.get("edits", ())]
    assert {path.split("/")[0] for edit in edits for path in edit["after"]} == {
        *("params", "data", "tags", "notes", "status")
    }
    assert properties("commit-line") == {member for line in written["commit-line"] for member in line}
    assert {m for line in written["invocation-line"] for m in line} >= {
        *("runs", "parameters", "constants", "generation")
    }
    kinds = {kind for name in written for document in written[name] for kind in _kinds(document)}
    assert kinds >= set(_DECODERS) - {"namedtuple", "custom", "masked-constant"} | {"bin", "file"}


def _kinds(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("$"), str):
            yield document["$"]
        document = list(document.values())
    if isinstance(document, list):
        for item in document:
            yield from _kinds(item)


# -- the page ---------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "archive-format.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text of the page below a heading."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """What the first column of the tables names."""
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def properties(schema: str, part: str = "") -> set[str]:
    content = json.loads(schema_path(schema).read_bytes())
    return set((content["$defs"][part] if part else content)["properties"])


@pytest.mark.parametrize(
    ("title", "schema", "without"),
    [
        ("`sweep.json`", "sweep", set()),
        ("`experiment_meta.json`", "run-meta", set()),
        ("`expansions.jsonl`", "expansion-line", {"crc"}),
    ],
)
def test_page_and_schema_name_the_same_members(title: str, schema: str, without: set[str]) -> None:
    assert first_cells(section(title)) == properties(schema) - without


def test_page_and_schemas_name_the_same_events() -> None:
    for title, schema in (("`experiment_journal.jsonl`", "journal-line"), ("`notes.jsonl`", "note-line")):
        content = json.loads(schema_path(schema).read_bytes())
        rules = {rule["if"]["properties"]["e"]["const"]: rule["then"] for rule in content["allOf"]}
        assert first_cells(section(title)) - {"e"} == set(content["properties"]["e"]["enum"]) == set(rules)
        for event, rule in rules.items():
            (row,) = re.findall(rf"^\| .*`{event}`.*\| (.*) \|$", section(title), re.MULTILINE)
            own = set(rule["properties"]) - {"e", "crc", "at"}
            assert own <= set(re.findall(r"[a-z0-9]+", row)), event
            assert set(re.findall(r"`(\w+)`", row)) - {"commit"} >= own, event


@pytest.mark.parametrize(
    ("title", "members"),
    [
        ("`sweep.json`", properties("sweep", "run") | properties("sweep", "parameter")),
        ("`sweep.json`", properties("sweep", "experiment") | properties("sweep", "options")),
        ("`sweep.json`", properties("sweep", "provenance")),
        ("`experiment_meta.json`", properties("run-meta", "artifact") | properties("run-meta", "edit")),
        ("`experiment_meta.json`", properties("run-meta", "parameter") | properties("run-meta", "input")),
        ("`invocations.jsonl`", properties("invocation-line") - {"crc"}),
        ("Commit logs: `journal/<writer>.jsonl`", properties("commit-line") - {"crc"}),
    ],
)
def test_the_page_names_what_is_deeper(title: str, members: set[str]) -> None:
    inline = re.findall(r"`([^`]+)`", section(title))
    known = {word for text in inline for word in re.findall(r"[\w-]+", text)}
    assert members - {"absent"} <= known


def test_the_page_lists_the_schemas() -> None:
    assert first_cells(section("Schemas")) - {"schema"} == set(schema_names())
    assert f"Format version {layout.FORMAT_VERSION}." in PAGE
    assert f"\n| {layout.FORMAT_VERSION} | " in section("Versions")


# -- not vacuous ------------------------------------------------------------------------------------------


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all objects whose members the format names: not those of tagged JSON and of the user."""
    if isinstance(document, dict) and "$" not in document:
        yield path
    if isinstance(document, dict | list) and not (isinstance(document, dict) and "$" in document):
        pairs = document.items() if isinstance(document, dict) else enumerate(document)
        for step, inner in pairs:
            yield from _places(inner, (*path, step))


_OPEN = {  # what the user, the system or a design names
    *(
        "params",
        "data",
        "derived",
        "environment",
        "threads",
        "sources",
        "design",
        "opaque_variables",
        "hashes",
    ),
    *("versions", "constants", "points", "value", "default", "v", "final_state"),
}
_NAMED = {"parameters", "series", "annotations", "hooks"}  # … with objects of the format below


@pytest.mark.parametrize(
    "name",
    ["run-meta", "sweep", "journal-line", "commit-line", "invocation-line", "expansion-line", "note-line"],
)
def test_what_nobody_writes_is_refused(written: dict[str, list[Any]], name: str) -> None:
    """A member that is not known, one of a wrong type, and one that is missing, in each kind of object."""
    richest = sorted(written[name], key=lambda document: -len(json.dumps(document)))
    shapes: set[tuple[Any, ...]] = set()
    tried = 0
    for document in richest:
        for path in _places(document):
            steps = [step for step in path if isinstance(step, str)]
            if _OPEN & set(steps) or (steps and steps[-1] in _NAMED):
                continue
            target = _at(document, path)
            shape = (
                *(s if p not in _NAMED else "*" for p, s in zip(["", *steps], steps, strict=False)),
                *target,
            )
            if shape in shapes:
                continue
            shapes.add(shape)
            for mutated in _mutations(document, path, target):
                assert not validator(name).is_valid(mutated[1]), f"{path}: {mutated[0]}"
                tried += 1
    assert tried >= 4


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def _mutations(document: Any, path: tuple[Any, ...], target: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    changed = copy.deepcopy(document)
    _at(changed, path)["nobody writes this"] = 1
    yield "a member that is not known", changed
    for member in target:
        if member in {"overrides", "v", "value", "default"} or member.startswith("data/"):
            continue
        changed = copy.deepcopy(document)
        _at(changed, path)[member] = {"nobody": [{"writes": "this"}]}
        if member not in _OPEN:
            yield f"{member} of a wrong type", changed


@pytest.mark.parametrize("name", ["run-meta", "sweep", "commit-line", "invocation-line", "expansion-line"])
def test_a_missing_member_is_refused(written: dict[str, list[Any]], name: str) -> None:
    optional = {"code"}  # where the code of an experiment cannot be told
    for member in set.intersection(*(set(document) for document in written[name])) - optional:
        changed = {key: value for key, value in written[name][0].items() if key != member}
        assert not validator(name).is_valid(changed), member


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("run-meta", {"status": "fine"}),
        ("run-meta", {"status": "running"}),  # with a stop
        ("run-meta", {"stop": None, "duration": None}),  # done, without one
        ("run-meta", {"key": "12345"}),
        ("run-meta", {"start": "yesterday"}),
        ("run-meta", {"seed": -1}),
        ("run-meta", {"index": 1.5}),
        ("run-meta", {"format_version": "2.0"}),
        ("run-meta", {"format": "expedition-sweep"}),
        ("run-meta", {"parameters": {"x": 1}}),
        ("run-meta", {"parameters": {"x": {"value": {"$": "pickle", "v": ""}}}}),
        ("run-meta", {"outcome": {"error": "ValueError"}}),
        ("sweep", {"runs": [{"index": 0}]}),
        ("sweep", {"replicates": 0}),
        ("sweep", {"swept": "x"}),
        ("sweep", {"design": {}}),
        ("sweep", {"provenance": {}}),
        ("commit-line", {"status": "running"}),
        ("commit-line", {"crc": "xyz"}),
        ("commit-line", {"start": "2026-01-01"}),
        ("commit-line", {"data": {"a": {"$": "tuple"}}}),
        ("invocation-line", {"selected": -1}),
        ("invocation-line", {"options": {"other": 1}}),
        ("expansion-line", {"by": "nobody"}),
        ("note-line", {"e": "annotate", "target": "x"}),
        ("journal-line", {"e": "explode"}),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(written: dict[str, list[Any]], name: str, change: dict[str, Any]) -> None:
    document = next(d for d in written[name] if d.get("status", "done") == "done")
    assert validator(name).is_valid(document)
    assert not validator(name).is_valid({**document, **change})


@pytest.mark.parametrize("folder", ["/tmp/x", "../x", "a/../../x", "", 5])
def test_a_run_folder_outside_of_the_sweep_is_refused(written: dict[str, list[Any]], folder: object) -> None:
    document = copy.deepcopy(written["sweep"][0])
    document["runs"][0]["folder"] = folder
    assert not validator("sweep").is_valid(document)


# -- tagged JSON ------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(values)
def test_every_value_is_valid(value: Any) -> None:
    assert not faults("tagged-json", loads(dumps(encode(value))))


@pytest.mark.parametrize("value", [*EDGES, *FRAMES, *SPARSE], ids=range(len([*EDGES, *FRAMES, *SPARSE])))
def test_edges_of_values_are_valid(value: Any) -> None:
    assert not faults("tagged-json", loads(dumps(encode(value))))


def test_the_schema_knows_the_kinds_of_the_readers() -> None:
    schema = json.loads(schema_path("tagged-json").read_bytes())
    assert set(schema["$defs"]["tagged"]["properties"]["$"]["enum"]) == set(_DECODERS)
    ruled = [rule["if"]["properties"]["$"] for rule in schema["$defs"]["tagged"]["allOf"]]
    kinds = [kind for rule in ruled for kind in rule.get("enum", [rule.get("const")])]
    assert sorted(kinds) == sorted(_DECODERS)


@pytest.mark.parametrize(
    "tag",
    [
        {"$": "pickle", "v": "gASV"},
        {"$": 5},
        {"$": "tuple"},
        {"$": "tuple", "v": {}},
        {"$": "tuple", "v": [{"$": "nothing"}]},
        {"$": "int", "v": 5},
        {"$": "float", "v": "NaN"},
        {"$": "bytes", "v": "%%%"},
        {"$": "dict", "v": [[1]]},
        {"$": "date", "v": "yesterday"},
        {"$": "timedelta", "v": [1, 2]},
        {"$": "path", "type": "Path", "v": "a"},
        {"$": "dataclass", "type": "Point", "fields": {}},
        {"$": "custom", "codec": "c", "version": 0, "v": 1},
        {"$": "array", "dtype": "<f8", "shape": [-1], "v": []},
        {"$": "array", "dtype": "<f8", "shape": [1]},
        {"$": "array", "dtype": "<f8", "shape": [1], "v": [1], "b64": ""},
        {"$": "npy", "file": "../x.npy", "dtype": "<f8", "shape": [1], "crc": "00000000"},
        {"$": "npy", "file": "data/../../x.npy", "dtype": "<f8", "shape": [1], "crc": "00000000"},
        {"$": "npy", "file": "/etc/passwd", "dtype": "<f8", "shape": [1], "crc": "00000000"},
        {"$": "npy", "file": "data/x.npy", "dtype": "<f8", "shape": [1]},
        {"$": "frame", "format": "xlsx", "file": "data/x", "shape": [1], "crc": "00000000"},
        {"$": "nat", "v": 1},
        {"$": "timestamp", "v": 1, "unit": "D"},
    ],
    ids=str,
)
def test_what_is_no_tagged_json_is_refused(tag: Any) -> None:
    assert faults("tagged-json", tag)
    assert faults("tagged-json", {"inner": [tag]})
    assert faults("run-data", {"group": {"x": tag}})


def test_groups_of_a_store() -> None:
    assert not faults(
        "run-data", {"a": {"b": {"c": 1}}, "e": {}, "l": [{"x/y": 1}], "d": {"$": "dict", "v": []}}
    )
    for wrong in ([], None, {"a/b": 1}, {"a": {"b/c": 1}}, {"": 1}):
        assert faults("run-data", wrong), wrong
    with pytest.raises(Exception, match="kind"):
        decode({"$": "nothing"})
