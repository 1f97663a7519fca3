"""``docs/archive-format.md`` mentions everything that a real sweep writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expedition.recording import layout, outcomes
from expedition.values.tagged import _DECODERS
from tests.durability.laboratory import Laboratory

PAGE = Path(__file__).parents[2] / "docs" / "archive-format.md"

# Below these members names are the user's, or the system's; what they hold is not the format's.
OPEN = {
    *("parameters", "data", "series", "derived", "annotations", "params", "design", "threads", "environment"),
    *("sources", "parts", "places", "gpus", "final_state", "opaque_variables", "value", "v"),
}
INNER = {"parameters", "series", "annotations"}
"""… but what stands below a name of the user is the format's again."""


def members(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        for item in content:
            yield from members(item)
    if isinstance(content, dict):
        for name, value in content.items():
            yield name
            if name in INNER and isinstance(value, dict):
                yield from members([about for about in value.values() if isinstance(about, dict)])
            elif name not in OPEN:
                yield from members(value)


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def mentioned(page: str) -> set[str]:
    inline = re.findall(r"`([^`\n]+)`", page)
    return {name for text in inline for name in re.findall(r"[\w$.-]+", text)}


def test_every_member_of_every_file_is_mentioned(whole: Laboratory, page: str) -> None:
    written: dict[str, set[str]] = {}
    for file in (whole.path / "results").rglob("*"):
        if file.suffix == ".json" and file.name != layout.DATA_FILE:
            written.setdefault(file.name, set()).update(members(json.loads(file.read_bytes())))
        if file.suffix == ".jsonl":
            for line in file.read_bytes().splitlines():
                name = "commit log" if file.parent.name == "journal" else file.name
                written.setdefault(name, set()).update(members(json.loads(line)))
    assert len(written) == 5
    assert min(map(len, written.values())) > 6
    known = mentioned(page)
    for name, found in written.items():
        assert found <= known, f"{name}: {found - known}"


def test_every_event_is_mentioned(whole: Laboratory, page: str) -> None:
    events = page[page.index("## `experiment_journal.jsonl`") : page.index("## `experiment_out.log`")]
    kinds = {
        json.loads(line)["e"]
        for file in (whole.path / "results").rglob(layout.JOURNAL_FILE)
        for line in file.read_bytes().splitlines()
    }
    assert len(kinds) >= 7
    for kind in {*kinds, "drop", "open"}:
        assert re.search(rf"^\|.*`{kind}`.*\|", events, re.MULTILINE), kind


def test_every_kind_of_tagged_json_is_mentioned_and_no_other(page: str) -> None:
    table = page[page.index("## Tagged JSON") : page.index("## Schemas")]
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == set(_DECODERS)


def test_every_name_and_status_is_mentioned(page: str) -> None:
    known = mentioned(page)
    for name in layout.RESERVED:
        assert name in known, name
    for status in outcomes.STATUSES:
        assert status in known, status
    assert f"Format version {layout.FORMAT_VERSION}" in page
    assert layout.RUN_FORMAT in page
    assert layout.SWEEP_FORMAT in page


def test_every_file_of_a_real_sweep_is_in_the_layout(whole: Laboratory, page: str) -> None:
    drawn = page[page.index("```text") : page.index("- **A sweep folder**")]
    for file in (whole.path / "results").rglob("*"):
        if file.is_file() and "notes" not in file.parts and "source" not in file.parts:
            name = re.sub(r"^main-\d+-[0-9a-f]{6}", "<writer>", file.name)
            assert name in drawn or file.parent.name == "data", file


def test_a_reader_written_from_the_page(whole: Laboratory) -> None:
    """Reads a run with nothing but json, struct and zlib, as the page says."""
    import struct
    import zlib

    (sweep,) = (whole.path / "results" / "exp_all").iterdir()
    manifest = json.loads((sweep / "sweep.json").read_bytes())
    for row in manifest["runs"]:
        folder = sweep / row["folder"]
        data, series = {}, {}
        for line in (folder / "experiment_journal.jsonl").read_bytes().splitlines(keepends=True):
            body, _, seal = line.rpartition(b',"crc":"')
            assert seal == b'%08x"}\n' % zlib.crc32(body)
            event = json.loads(line)
            if event["e"] == "store":
                data[event["k"]] = event["v"]
            if event["e"] == "track":
                value = event["v"]
                if isinstance(value, dict):
                    with open(folder / "data" / "series.bin", "rb") as file:
                        file.seek(value["o"])
                        raw = file.read(8 * value["sh"][0])
                    assert f"{zlib.crc32(raw):08x}" == value["crc"]
                    value = struct.unpack(f"<{value['sh'][0]}d", raw)[0]
                series.setdefault(event["n"], []).append(value)
        alpha = row["params"]["alpha"]
        assert data["scores/mean"] == alpha / 2
        assert series == {"fold/rmse": [alpha * i for i in range(4)], "field": [alpha * i for i in range(4)]}
        whole_data = json.loads((folder / "experiment_data.json").read_bytes())
        assert whole_data["scores"]["mean"] == alpha / 2
        assert whole_data["array"]["file"] == "data/array.npy"
