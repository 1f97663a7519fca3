"""What the digest of an experiment's code is made of: nothing imported, nothing secret, nothing left out."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from tests.archive.test_schemas import faults

MODULES = ("helper", "model", "tool", "a", "b", "a.util", "b.util")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Modules of one project must not be those of the last one."""
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def run(lab, *options, path="."):
    """Run in this process, as a new one would: with its modules imported anew."""
    for name in MODULES:
        sys.modules.pop(name, None)
    return lab.run(*options, path=path)


def parts(lab):
    return lab.manifest()["code"]["parts"]


LATER = """
import os

@experiment
def exp_a(e, backend: str = "jax", use_tool: bool = False):
    os.environ["BACKEND"] = backend
    import model
    e["backend"] = model.BACKEND
    e["x"] = model.scaled(2)
    if use_tool:
        import tool
        tool.work()
"""
MODEL = """
import os
from math import {function} as wave

BACKEND = os.environ.get("BACKEND", "default")
{name} = [1]
{name}.append({factor})
def scaled(x): return {name}[-1] * x + wave(0.0)
def other(x): return {other}
"""


class TestLaterImports:
    def write(self, lab, *, function="sin", name="FACTORS", factor=3, other=0, tool=0):
        lab.file("model.py", MODEL.format(function=function, name=name, factor=factor, other=other))
        lab.file("tool.py", f"import sys\ndef work(): return {tool}\nsys.exit(2)\n")
        lab.experiment(LATER)

    def test_nothing_is_imported_to_find_the_code(self, lab, monkeypatch):
        monkeypatch.delenv("BACKEND", raising=False)
        self.write(lab)
        run(lab).exits(0)
        assert lab.record().data == {"backend": "jax", "x": 6.0}
        assert "tool" not in sys.modules

    def test_what_stands_in_the_file_counts_imported_or_not(self, lab):
        self.write(lab)
        run(lab, path="exp_a.py").exits(0)
        # Another experiment imports the same modules before the code is looked at
        lab.experiment(
            "import model\n\n@experiment\ndef exp_0(e):\n    e['x'] = model.scaled(1)\n", "exp_0.py"
        )
        assert lab.run("--resume").exits(0).says("1 deselected")
        for change, says in (
            ({"other": 1}, "1 deselected"),
            ({"factor": 4}, "constant model.FACTORS was"),
            ({"function": "cos"}, "constant model.wave was from math import sin, is from math import cos"),
            ({"name": "TABLE"}, "-def scaled(x): return FACTORS[-1] * x + wave(0.0)"),
            ({"tool": 1}, "tool.work was"),
        ):
            self.write(lab, **change)
            run(lab, "--resume", "--collect-only", "--why-stale", path="exp_a.py").says(says)


GROWN = """
from pathlib import Path
from helper import shift

@experiment.parametrize("a", [0, 1])
def exp_a(e, a: int = 0):
    e["x"] = shift(a)

@experiment.after_sweep
def more(traj):
    Path("helper.py").write_text("def shift(a):\\n    return a + 100\\n")
    return [{"a": 2}] if len(traj) < 3 else None
"""
DYING = """
import os
from pathlib import Path
from helper import shift

@experiment(retries=1)
@experiment.parametrize("a", [0, 1, 2])
def exp_a(e, a: int = 0):
    if a == 2 and not os.path.exists("edited"):
        Path("edited").touch()
        Path("helper.py").write_text("def shift(a):\\n    return a + 100\\n")
        os._exit(1)
    e["x"] = shift(a)
"""


@pytest.mark.parametrize("text", [GROWN, DYING])
def test_runs_bear_the_code_that_their_worker_imported(lab, text):
    lab.file("helper.py", "def shift(a):\n    return a\n")
    lab.experiment(text)
    lab.spawn("--experiments", ".", "-n1")
    records = lab.records()
    assert [record.data["x"] for record in records] == [0, 1, 102]
    assert records[0].code == records[1].code != records[2].code
    (sweep,) = lab.sweeps()
    lines = [json.loads(line) for line in (sweep / "invocations.jsonl").read_text().splitlines()]
    (told,) = [line for line in lines if "worker" in line]
    assert (told["worker"][:2], told["code"]["digest"]) == ("gw", records[2].code)
    assert told["code"]["sources"] == {"code of helper.shift": "def shift(a):\n    return a + 100\n"}
    assert not [fault for line in lines if (fault := faults("invocation-line", line))]
    lab.pytest("--archive-diff", "a=0", "a=2").exits(0).says("-    return a", "+    return a + 100")
    outcome = lab.spawn("--experiments", ".", "--resume", "--why-stale").exits(0)
    outcome.says("1 done, 2 stale", "+    return a + 100")
    assert {record.code for record in lab.records()} == {records[2].code}


def test_a_constant_of_each_process_is_that_of_the_controller(lab):
    lab.experiment(
        "import os\ndevice = os.environ.get('PYTEST_XDIST_WORKER')\n\n"
        "@experiment\ndef exp_a(e):\n    e['device'] = device\n"
    )
    lab.spawn("--experiments", ".", "-n1").exits(0)
    lab.run("--resume").exits(0).says("nothing to do")


def test_no_secret_stands_in_the_parts_or_can_be_guessed_from_them(lab):
    text = (
        "import helper\nfrom expedition import Secret\n\nPIN: Secret[int] = helper.PIN\n"
        "TOKEN: Secret[str] = helper.TOKEN\n\n@experiment\ndef exp_a(e):\n    e['r'] = helper.use() % 7\n"
    )
    helper = (
        "import re\nPIN = {pin}\nTOKEN = 'sesame'\nheaders = {{'auth': 'Bearer ' + TOKEN, 'n': 1}}\nraw = b'sesame'\n"
        "shape = re.compile('sesame')\n"
        "def use(): return PIN + len(TOKEN) + len(headers) + len(raw) + len(shape.pattern) + len('sesame')\n"
    )
    lab.experiment(text)
    for pin in (48151623, 48151624):
        lab.file("helper.py", helper.format(pin=pin))
        run(lab).exits(0)
    first, second = (
        json.loads((sweep / "sweep.json").read_text())["code"]["parts"] for sweep in lab.sweeps()
    )
    assert first == second  # nothing of it depends on what they are
    assert first["constant helper.PIN"] == "***"
    lab.file("helper.py", helper.format(pin=48151623).replace("sesame", "abracadabra"))
    run(lab, "--resume", "--why-stale").says("nothing to do").omits("4815162")
    for file in (lab.path / "results").rglob("*"):
        assert not file.is_file() or b"4815162" not in file.read_bytes(), file


def test_files_of_one_name_are_told_apart(lab):
    for folder, limit in (("a", 9), ("b", 9)):
        lab.file(f"{folder}/__init__.py", "")
        lab.file(f"{folder}/util.py", f"limit = {limit}\ndef f(): return limit\n")
    lab.experiment(
        "from a.util import f\nfrom b.util import f as g\n\n@experiment\ndef exp_a(e):\n    e['x'] = f() + g()\n"
    )
    run(lab).exits(0)
    assert {n: t for n, t in parts(lab).items() if "limit" in n} == {
        "constant a/util.limit": "9",
        "constant b/util.limit": "9",
    }
    lab.file("a/util.py", "limit = 10\ndef f(): return limit\n")
    run(lab, "--resume", "--why-stale").says("constant a/util.limit was 9, is 10")
    assert lab.record().data["x"] == 19


INEXACT = """
import array, collections, math, re
import statistics as st
import numpy as np
from math import sin as wave
from types import SimpleNamespace

rate = 0.5
def matching(found):
    compiled = re.compile(found)
    def decorate(function):
        def inner(text): return compiled.match(text) and function(text)
        return inner
    return decorate
text = "b"
pattern = re.compile("a+")
config = SimpleNamespace(lr=0.1)
rated = SimpleNamespace(lr=rate)
solver = math.sqrt
ends = collections.deque([55])
numbers = array.array("d", [10.5])
kind = np.dtype("f4")
objects = np.array([None, 115], dtype=object)
draws = np.random.default_rng(75)
counts = collections.defaultdict(int, {"k": 45})
class Model:
    shape = re.compile(text)
    width = np.dtype("f4")
def shaped(x, at=pattern): return at
@matching(text)
def checked(text): return text

@experiment
def exp_a(e):
    e["x"] = repr([pattern, config, rated, solver, ends, numbers, kind, objects, draws, counts, wave, Model.shape])
    e["y"] = [st.mean([1, 2]), bool(checked("b")), repr(shaped(1))]
"""


def test_values_without_an_exact_form_count_as_they_are_made(lab):
    lab.experiment(INEXACT)
    lab.run().exits(0)
    unmoved = lab.run("--resume", "--collect-only").exits(0)
    unmoved.omits("stale")
    for before, after, says in (
        ('"a+"', '"b+"', "constant exp_a.pattern was"),
        ("lr=0.1", "lr=0.9", "constant exp_a.config was"),
        ("rate = 0.5", "rate = 0.6", "constant exp_a.rate was 0.5, is 0.6"),
        ("math.sqrt", "math.cos", "constant exp_a.solver was"),
        (
            "sin as wave",
            "cos as wave",
            "constant exp_a.wave was from math import sin, is from math import cos",
        ),
        ("statistics as st", "numpy as st", "constant exp_a.st was import statistics, is import numpy"),
        ("[55]", "[56]", "constant exp_a.ends was"),
        ("[10.5]", "[11.5]", "constant exp_a.numbers was"),
        ('kind = np.dtype("f4")', 'kind = np.dtype("f8")', "constant exp_a.kind was"),
        ("115", "116", "constant exp_a.objects was"),
        ("(75)", "(76)", "constant exp_a.draws was"),
        ("defaultdict(int", "defaultdict(float", "constant exp_a.counts was"),
        ('text = "b"', 'text = "b?"', "constant exp_a.text was"),
    ):
        assert before in INEXACT
        lab.experiment(INEXACT.replace(before, after))
        outcome = lab.run("--resume", "--collect-only", "--why-stale").exits(0)
        outcome.says("1 run is stale", says)


def test_neither_the_place_of_the_project_nor_the_order_of_a_set_counts(lab):
    text = (
        "import os\nfrom pathlib import Path\nhere = os.path.dirname(__file__)\n"
        "files = {'data': [here + '/data.txt']}\n"
        "class M:\n    def __init__(self, k): self.k = k\n"
        "models = {M(1), M(2), M(3), M(4)}\nhandlers = {print, len, sorted}\nby_model = {M(5): M(6)}\n"
        "names = {'a', 'b', 'c', 'dd'}\n\n@experiment\ndef exp_a(e):\n"
        "    e['x'] = len((Path(__file__).parent / 'x').name) + len(here and files)\n"
        "    e['y'] = sum(m.k for m in models) + len(handlers) + len(names) + len(by_model)\n"
    )
    lab.experiment(text)
    lab.spawn("--experiments", ".").exits(0)
    assert (
        str(lab.path)
        not in (lab.sweeps()[0] / "sweep.json").read_text().split('"code"')[1].split('"runs"')[0]
    )
    moved = lab.path.parent / "moved to another place"
    shutil.move(lab.path, moved)
    lab.path.mkdir()
    lab.spawn("--rootdir", moved, "--archive", moved / "results", "--experiments", moved, "--resume").exits(
        0
    ).says("nothing to do")
    shutil.rmtree(lab.path)
    shutil.move(moved, lab.path)
    lab.experiment(text.replace("M(4)", "M(7)"))
    lab.spawn("--experiments", ".", "--resume", "--why-stale").exits(0).says(
        "constant exp_a.models.3.k was 4, is 7"
    )
