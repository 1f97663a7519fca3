"""Classes of one's own in real runs: as parameters, swept or not, in the store, as derived parameters."""

from __future__ import annotations

import json

import h5py
import pytest

from expedition import Trajectory, Undecoded, register_codec
from expedition.values import codecs
from tests.thoroughness import further

SHAPES = """
class Vector:
    def __init__(self, x, y):
        self.x, self.y = x, y

    @property
    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5
"""

CODEC = """
from expedition import Codec, register_codec
from shapes import Vector

class VectorCodec(Codec):
    name = "vector"
    types = (Vector,)

    def encode(self, value):
        return {"x": value.x, "y": value.y}

    def decode(self, parts, version):
        return Vector(parts["x"], parts["y"])

register_codec(VectorCodec())
"""

HOOKS = """
from shapes import Vector

def pytest_experiment_serialize(obj):
    if isinstance(obj, Vector):
        return "vector", 2, [obj.x, obj.y]

def pytest_experiment_deserialize(codec, value):
    if codec == "vector":
        return Vector(*value)
"""

EXPERIMENT = """
from shapes import Vector

CENTRE: Vector = Vector(0.5, 0.5)

@experiment.parametrize("v", [Vector(3.0, 4.0), Vector(0.0, 1.0)])
@experiment.replicate(2)
def exp_a(e, v: Vector):
    assert v is not None and CENTRE.x == 0.5
    e["norm"] = v.norm
    e["copies"] = [Vector(v.x, e.replicate)]
    e["v2"] = Vector(2 * v.x, 2 * v.y)
    e.derived("shifted", Vector(v.x - CENTRE.x, v.y))
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_registered", {})


@pytest.fixture
def project(lab, monkeypatch):
    monkeypatch.syspath_prepend(lab.path)
    lab.file("shapes.py", SHAPES)
    lab.file("pytest.ini", "[pytest]\npythonpath = .\n")
    lab.experiment(EXPERIMENT)
    return lab


class VectorCodec:
    """The codec of the reading side, with a class of its own."""

    name, version = "vector", 2

    def matches(self, value: object) -> bool:
        return type(value) is complex

    def encode(self, value: complex) -> object:
        return [value.real, value.imag]

    def decode(self, parts, version: int) -> complex:
        return complex(parts["x"], parts["y"]) if isinstance(parts, dict) else complex(*parts)


@pytest.mark.parametrize("conftest", [CODEC, HOOKS], ids=["registered", "hooks"])
@pytest.mark.parametrize("workers", [[], *further(["-n2"])], ids=["serial", "xdist"])
def test_a_sweep_over_values_of_ones_own(project, conftest, workers):
    project.file("conftest.py", conftest)
    project.spawn("--experiments", ".", *workers).exits(0).omits("Error")
    runs = project.records(status="done")
    assert len(runs) == 4
    assert {len(run.id) < 60 and run.id.startswith("v=vector ") for run in runs} == {True}
    assert len({run.id for run in runs}) == 4
    for run in runs:
        # The process that reads has no codec: all else is as it was.
        assert type(run.params["v"]) is Undecoded
        assert run.data["norm"] in (5.0, 1.0)
        assert run.data["v2"].codec == "vector"
    register_codec(VectorCodec())
    for run in project.records():
        assert abs(run.params["v"]) == run.data["norm"]
        assert run.params["CENTRE"] == 0.5 + 0.5j
        assert run.data["v2"] == 2 * run.params["v"]
        assert run.data["copies"] == [complex(run.params["v"].real, run.replicate)]
        assert run.derived["shifted"] == run.params["v"] - 0.5


def test_keys_and_ids_are_those_of_the_parts_in_every_process(project):
    project.file("conftest.py", CODEC)
    one = project.spawn("--experiments", ".", "--collect-only", "-q").exits(0).ids()
    other = project.spawn("--experiments", ".", "--collect-only", "-q", PYTHONHASHSEED="7").exits(0).ids()
    assert one == other
    assert one[0].startswith("exp_a.py::exp_a[v=vector x3.0,y4.0~")
    project.spawn("--experiments", ".").exits(0)
    project.spawn("--experiments", ".", "--resume").says("4 done").omits("failed")
    assert {run.attempt for run in project.records()} == {0}


def test_the_trajectory_names_the_codec_and_reads_without_it(project):
    project.file("conftest.py", CODEC)
    project.spawn("--experiments", ".").exits(0)
    (sweep,) = project.sweeps()
    with h5py.File(sweep / "trajectory.h5") as file:
        columns = json.loads(file["_meta/schema"][()])["columns"]
        assert file["results/v2"].asstr()[0].startswith('{"$":"custom","codec":"vector","version":1,')
    for path in ("parameters/v", "parameters/CENTRE", "results/v2", "results/copies"):
        assert (columns[path]["kind"], columns[path]["codecs"]) == ("json", {"vector": 1})
    assert "codecs" not in columns["results/norm"]
    with Trajectory.open(sweep) as traj:
        assert traj.res.norm.values.tolist() == [5.0, 5.0, 1.0, 1.0]
        assert traj.res.v2[0] == Undecoded("vector", 1, {"x": 6.0, "y": 8.0})
        assert "register_codec" in repr(traj[3].par.v)
        assert traj.find("norm < 2").tolist() == [2, 3]
        assert len(traj.unique_points()) == 2
        assert traj.to_pandas()["norm"].tolist() == [5.0, 5.0, 1.0, 1.0]
    register_codec(VectorCodec())
    with Trajectory.open(sweep) as traj:
        assert traj.res.v2.tolist() == [6 + 8j, 6 + 8j, 2j, 2j]
        assert traj.find(v=3 + 4j).tolist() == [0, 1]


def test_without_a_codec_a_parameter_is_refused_before_anything_runs(project):
    project.refused(workers=False).says("a value of type shapes.Vector", "expedition.register_codec")


def test_equal_points_are_found_out_by_their_text(project):
    project.file("conftest.py", CODEC)
    project.experiment(EXPERIMENT.replace("Vector(0.0, 1.0)", "Vector(3.0, 4.0)"))
    project.refused(workers=False).says("is listed twice")


def test_series_keep_numbers_only(project):
    project.file("conftest.py", CODEC)
    project.experiment(
        """
        from shapes import Vector

        def exp_a(e):
            e.track("v", Vector(1, 2))

        exp_a = experiment(exp_a)
        """
    )
    project.run().exits(1)
    error = project.record(status="failed").error
    assert error.type == "UnstorableError"
    assert "a value of type Vector cannot be tracked; track numbers" in error.message


def test_a_hook_that_returns_something_else_fails_the_run(project):
    project.file(
        "conftest.py",
        """
        def pytest_experiment_serialize(obj):
            if type(obj).__name__ == "Strange":
                return {"codec": "strange"}
        """,
    )
    project.experiment("@experiment\ndef exp_a(e):\n    e['s'] = type('Strange', (), {})()\n")
    project.run().exits(1)
    assert "must return (codec, parts)" in project.record(status="failed").error.message


def test_hooks_end_with_their_session(project):
    project.file("conftest.py", HOOKS)
    project.run().exits(0)
    assert {type(run.params["v"]) for run in project.records()} == {Undecoded}


@pytest.mark.parametrize("folder", [".", "below"])
def test_the_hooks_are_known_also_when_no_experiment_is_asked_for(project, folder):
    project.file(f"{folder}/conftest.py", HOOKS)
    project.file(f"{folder}/test_a.py", "def test_a(): pass\n")
    project.pytest("-q").exits(0).omits("unknown hook")
    project.file(f"{folder}/conftest.py", "def pytest_experiment_serialise(obj): pass\n")
    project.pytest("-q").says("unknown hook 'pytest_experiment_serialise'")


def test_a_second_codec_of_a_name_ends_the_session(project):
    project.file("conftest.py", CODEC + "\nregister_codec(type('Other', (VectorCodec,), {'types': ()})())\n")
    outcome = project.run()
    assert outcome.code == pytest.ExitCode.USAGE_ERROR
    outcome.says("the codec name 'vector' is taken by VectorCodec of")
    assert not (project.path / "results").exists()
