"""``expedition schema``: the paths of the JSON schemas."""

from __future__ import annotations

import json
from pathlib import Path

from expedition.archive.schemas import schema_names
from tests.cli.conftest import Expedition


def test_names_and_paths(expedition: Expedition) -> None:
    assert expedition("schema").exits(0).out.splitlines() == schema_names()
    for name in schema_names():
        path = Path(expedition("schema", name).exits(0).out.strip())
        assert json.loads(path.read_bytes())["$id"].endswith(f":{name}")
    expedition("schema", "run-mata").exits(4).says("no schema 'run-mata'", "did you mean 'run-meta'")
