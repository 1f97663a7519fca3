"""The value of a secret parameter is in no file and on no terminal, whatever the run does and whoever reports on it.

What experiments do with secrets is in tests/plugin/test_secrets.py and test_secret_forms.py; here are all places that
something of a run gets to.
"""

from __future__ import annotations

import gzip
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from tests.durability.laboratory import Laboratory
from tests.thoroughness import further

SECRET = "s3cr3t-\"ü'-\\-of-the-suite"
PARTS = ("s3cr3t", "of-the-suite")
LOGGED = ("-o", "log_cli=true", "-o", "log_file=run.log")

EXPERIMENT = """
import logging, os, sys, warnings
import numpy as np
from expedition import Secret, experiment

KEY: Secret[str] = {value}

class Odd(Exception):
    def __str__(self):
        return f"odd {{KEY}}"

def deep(key, end):
    local, items = key, [key, {{"key": key}}]
    print("printed", key)
    if end != "dies":  # nobody is left to mask what went past Python
        os.write(2, f"low {{key}}\\n".encode())
    logging.getLogger("x").error("logged %s", key)
    try:
        raise Odd(key)
    except Odd:
        logging.getLogger("x").exception("caught", stack_info=True)
    warnings.warn(f"warned {{key}}")
    if end == "raises":
        raise Odd(key) from ValueError(f"because of {{key}}")
    if end == "exits":
        sys.exit(f"exit {{key}}")
    if end == "dies":
        sys.stderr.write(f"dying {{key}}")
        sys.stderr.flush()
        os._exit(3)
    assert local == "something else", f"asserted {{key}}"

@experiment.parametrize("end", ["raises", "exits", "asserts"])
def exp_a(e, end: str):
    e["length"] = len(e.KEY)
    e.track("loss", 1.0)
    e.log(f"said {{e.KEY}}")
    e.log_params()
    e.note("noted")
    try:
        e["key"] = e.KEY
    except TypeError as error:
        e["refused"] = str(error)
    deep(e.KEY, end)

@experiment.after_sweep
def summed(sweep, e):
    print("summed", KEY)
    e.log(f"summed {{KEY}}")
    logging.getLogger("x").error("summed %s", KEY)
    try:
        e["key"] = KEY
    except TypeError:
        e["refused"] = True
    raise Odd(KEY)
"""


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of a file, and of all that is packed in it."""
    content = path.read_bytes()
    yield path.name, content
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for name in packed.namelist():
                yield f"{path.name}/{name}", packed.read(name)
    elif content[:2] == b"\x1f\x8b":
        yield path.name, gzip.decompress(content)
    elif content[:8] == b"\x89HDF\r\n\x1a\n":
        with h5py.File(path) as file:
            found: list[tuple[str, bytes]] = [("attributes", repr(dict(file.attrs)).encode())]

            def visit(name: str, node: h5py.Dataset | h5py.Group) -> None:
                attrs = {
                    key: value
                    for key, value in node.attrs.items()
                    if key not in ("DIMENSION_LIST", "REFERENCE_LIST")
                }
                found.append((name, repr(attrs).encode()))
                if isinstance(node, h5py.Dataset):
                    found.append(
                        (
                            name,
                            b"\n".join(map(bytes, node[...].reshape(-1))) if node.dtype.kind in "OS" else b"",
                        )
                    )

            file.visititems(visit)
            yield from ((f"{path.name}:{name}", text) for name, text in found)
    for at in range(len(content) - 2):  # values that the index keeps packed
        if path.suffix == ".sqlite" and content[at] == 0x78 and content[at + 1] in (0x01, 0x5E, 0x9C, 0xDA):
            try:
                yield path.name, zlib.decompressobj().decompress(content[at:])
            except zlib.error:
                continue


def nowhere(folder: Path, *texts: str, source: str = "") -> None:
    """No file below a folder but the experiment's own has a part of the secret, nor any of the texts."""
    for text in texts:
        assert not [part for part in PARTS if part in text], text[-3000:]
    for path in folder.rglob("*"):
        own = path.name == source or ".git" in path.parts or "__pycache__" in path.parts
        if path.is_file() and not path.is_symlink() and not (own and "results" not in path.parts):
            for name, content in contents(path):
                assert not [part for part in PARTS if part.encode() in content], f"{path}: {name}"


@pytest.mark.parametrize("workers", ["-n2", *further("-n0")])
def test_no_sink_has_it(laboratory: Laboratory, workers: str) -> None:
    laboratory.write("exp_a.py", EXPERIMENT.format(value="'unset'"))
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=laboratory.path, check=True, capture_output=True)
    laboratory.write("exp_a.py", EXPERIMENT.format(value=repr(SECRET)))  # it is in the diff now
    shown = [
        laboratory.run(workers, "-l", "-rA", "--tb=long", "--junitxml=junit.xml", "--durations=5", *LOGGED)
        .exits(1)
        .text,
        laboratory.pytest("--archive-list", "--archive-columns", "id,status,error,KEY,tags").exits(0).text,
        laboratory.pytest("--archive-list", "--archive-format", "json").exits(0).text,
        laboratory.pytest("--archive-overview").exits(0).text,
        laboratory.pytest("--archive-compress", "runs.zip", "--all").exits(0).text,
        laboratory.pytest("--archive-export", "folder", "--archive-output", "plain", "--all").exits(0).text,
        laboratory.pytest("--archive-export", "csv", "--archive-output", "runs.csv", "--all").exits(0).text,
    ]
    assert "after_sweep of exp_a failed" in shown[0]
    ids = list(laboratory.records())
    assert len(ids) == 3
    for name in ids:
        record = laboratory.records()[name]
        assert record.error is not None
        assert record.data["length"] == len(SECRET)
        assert "holds the text of a secret" in record.data["refused"]
        shown.append(
            laboratory.pytest("--archive-show", record.path, "--archive-format", "json").exits(0).text
        )
    assert (laboratory.path / "junit.xml").is_file()
    if workers == "-n0":
        assert "odd ***" in (laboratory.path / "run.log").read_text(encoding="utf-8")
    (summary,) = laboratory.path.glob("results/exp_a/*/summary")
    assert '"refused": true' in (summary / "experiment_data.json").read_text(encoding="utf-8")
    assert "summed ***" in (summary / "experiment_out.log").read_text(encoding="utf-8")
    diffs = list((laboratory.path / "results").rglob("git.diff"))
    assert diffs
    assert all("KEY" in diff.read_text(encoding="utf-8") for diff in diffs)
    nowhere(laboratory.path, *shown, source="exp_a.py")


def test_not_when_it_is_given_as_an_option_and_the_process_dies(laboratory: Laboratory) -> None:
    laboratory.write("exp_a.py", EXPERIMENT.format(value="'unset'").replace('"raises", "exits"', '"dies"'))
    for workers in ("-n0", "-n1"):
        done = laboratory.run(workers, "-P", f"KEY={SECRET}", "--where", "end == 'dies'")
        nowhere(laboratory.path, done.text, laboratory.pytest("--archive-list").exits(0).text)
    found = [record for record in laboratory.archive.runs() if record.params["end"] == "dies"]
    assert found
    assert {record.status for record in found} == {"crashed"}
