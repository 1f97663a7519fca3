"""The cache between processes: one computation, whoever is killed, and never the value of another key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from expedition.recording.cache import Cache, CacheKey

KEY = CacheKey("v", ("s",), {"argument n": "1"})

PROGRAM = """
import os, pathlib, sys, time, warnings
import numpy as np
from expedition.recording.cache import Cache, CacheKey

warnings.simplefilter("ignore")

def compute():
    with open("computed", "a") as file:
        file.write(f"{os.getpid()}\\n")
    if pathlib.Path("slow").exists():
        time.sleep(600)
    time.sleep(0.05)
    return {"a": np.arange(1000), "n": 1}

print("ready", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.001)
value = Cache(pathlib.Path("archive")).get(CacheKey("v", ("s",), {"argument n": "1"}), compute)
assert value["a"].tolist() == list(range(1000)) and value["n"] == 1
"""

Process = subprocess.Popen[str]


def start(folder: Path, count: int) -> list[Process]:
    """Start processes that ask for the key as soon as there is a file ``go``."""
    command = [sys.executable, "-c", PROGRAM]
    processes = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    return processes


def end(processes: list[Process]) -> None:
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0


def computed(folder: Path) -> list[int]:
    """The processes that computed, in order."""
    path = folder / "computed"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(12_000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("what was waited for did not come")


def entry(folder: Path) -> Path:
    (about,) = (folder / "archive").rglob("about.json")
    return about.parent


def hidden(folder: Path) -> list[str]:
    return [path.name for path in (folder / "archive").rglob(".*") if path.name != ".expedition"]


def test_eight_processes_compute_once(tmp_path: Path) -> None:
    processes = start(tmp_path, 8)
    (tmp_path / "go").touch()
    end(processes)
    assert len(computed(tmp_path)) == 1
    assert hidden(tmp_path) == []


def test_another_takes_over_where_the_one_that_computes_is_killed(tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    processes = start(tmp_path, 8)
    (tmp_path / "go").touch()
    wait_for(lambda: computed(tmp_path))
    (tmp_path / "slow").unlink()
    (killed,) = (process for process in processes if process.pid == computed(tmp_path)[0])
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    end([process for process in processes if process is not killed])
    assert len(computed(tmp_path)) == 2


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    end(start(tmp_path, 1))
    whole = entry(tmp_path)
    half = whole.with_name(f".{whole.name}.tmp-1")
    whole.rename(half)
    (half / "value.json").unlink()
    end(start(tmp_path, 1))
    assert len(computed(tmp_path)) == 2
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("how", ["about", "value", "array", "gone", "other"])
def test_eight_processes_compute_a_damaged_entry_once(tmp_path: Path, how: str) -> None:
    (tmp_path / "go").touch()
    end(start(tmp_path, 1))
    (tmp_path / "go").unlink()
    folder = entry(tmp_path)
    (array,) = folder.rglob("*.npy")
    if how == "about":
        (folder / "about.json").write_text("[")
    elif how == "value":
        (folder / "value.json").write_text((folder / "value.json").read_text().replace('"n":1', '"n":2'))
    elif how == "array":
        content = bytearray(array.read_bytes())
        content[-8] ^= 1
        array.write_bytes(content)
    elif how == "gone":
        array.unlink()
    else:
        text = (folder / "about.json").read_text()
        (folder / "about.json").write_text(text.replace('"argument n": "1"', '"argument n": "2"'))
    processes = start(tmp_path, 8)
    (tmp_path / "go").touch()
    end(processes)
    assert len(computed(tmp_path)) == 2
    assert hidden(tmp_path) == []


def test_a_damaged_entry_is_said(tmp_path: Path) -> None:
    Cache(tmp_path / "archive").get(KEY, lambda: 1)
    (entry(tmp_path) / "value.json").write_text("{")
    with pytest.warns(UserWarning, match="the cache entry of v at .* is damaged and counts as missing"):
        assert Cache(tmp_path / "archive").get(KEY, lambda: 2) == 2
    assert Cache(tmp_path / "archive").get(KEY, lambda: 3) == 2


def test_entries_that_are_replaced_are_read_whole(tmp_path: Path) -> None:
    """One process puts other values of the same size all the time, others read and clear."""
    program = """
import pathlib, sys
import numpy as np
from expedition.recording.cache import Cache, CacheKey
cache, keys = Cache(pathlib.Path("archive")), [CacheKey("v", (), {"n": str(n)}) for n in range(2)]
for turn in range(60):
    for n, key in enumerate(keys):
        if sys.argv[1] == "put":
            cache.put(key, [n, np.full(100, turn)])
        elif sys.argv[1] == "clear":
            cache.clear()
        else:
            owner, array = cache.get(key, lambda: [n, np.full(100, -1)])
            assert owner == n and len(set(array.tolist())) == 1, (owner, array)
"""
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", program, what], cwd=tmp_path)
        for what in ("put", "put", "get", "get", "get", "clear")
    ]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 6


@pytest.mark.parametrize("what", ["file", "read-only"])
def test_where_nothing_can_be_written_values_are_computed(tmp_path: Path, what: str) -> None:
    place = tmp_path / ".expedition"
    if what == "file":
        place.touch()
    elif os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    else:
        place.mkdir(mode=0o500)
    cache = Cache(tmp_path)
    with pytest.warns(
        UserWarning, match=r"the cache at .* cannot be written, and values are computed"
    ) as found:
        assert [cache.get(KEY, partial(int, n)) for n in range(3)] == [0, 1, 2]
    assert len(found) == 1


def test_a_full_disk_costs_the_entry_and_not_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = Cache(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.warns(UserWarning, match="No space left on device"):
            assert cache.get(KEY, lambda: 1) == 1
    assert cache.get(KEY, lambda: 2) == 2
    with warnings.catch_warnings(action="error"):
        assert cache.get(KEY, lambda: 3) == 2


def test_what_compute_raises_goes_on_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".expedition").touch()
    with pytest.warns(UserWarning, match="cannot be written"), pytest.raises(FileNotFoundError) as raised:
        Cache(tmp_path).get(KEY, lambda: (tmp_path / "none").read_text())
    assert raised.value.filename == str(tmp_path / "none")


def test_keys_of_other_names_scopes_and_parts_have_values_of_their_own(tmp_path: Path) -> None:
    keys = [
        CacheKey("v"),
        CacheKey("v", ("s",)),
        CacheKey("s", ("v",)),
        CacheKey("v", ("s", "s")),
        CacheKey("s/v"),
        CacheKey("s_v"),
        CacheKey("V"),
        CacheKey("v", (), {"a": "1"}),
        CacheKey("v", (), {"a": "1 "}),
        CacheKey("v", (), {"a": "1", "b": ""}),
        CacheKey("v", (), {"b": "1"}),
    ]
    cache = Cache(tmp_path)
    for number, key in enumerate(keys):
        assert cache.get(key, partial(int, number)) == number
    assert [cache.get(key, lambda: -1) for key in keys] == list(range(len(keys)))
