"""Values without a text of their own, in ids and tables: no addresses, and different ones look different."""

from __future__ import annotations

import pytest

from expedition import Trajectory
from expedition.values import codecs

CODEC = """
from expedition import Codec, register_codec

class Molecule:
    def __init__(self, formula): self.formula = formula
    def __eq__(self, other): return self.formula == other.formula
    def __hash__(self): return hash(self.formula)

class MoleculeCodec(Codec):
    name = "molecule"
    types = (Molecule,)
    def encode(self, value): return {"formula": value.formula}
    def decode(self, parts, version): return Molecule(parts["formula"])

register_codec(MoleculeCodec())
"""
SWEEP = """
from molecule import Molecule

@experiment.replicate(2)
@experiment.parametrize("m", [Molecule("CH4"), [Molecule("H2O"), 1]])
def exp_a(e, m, fixed=Molecule("O2")):
    e["x"] = 1.0
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(codecs, "_registered", {})
    monkeypatch.setattr(codecs, "_sources", [])


def test_values_of_codecs_show_their_parts(lab, monkeypatch):
    lab.file("molecule.py", CODEC)
    lab.experiment(SWEEP)
    monkeypatch.syspath_prepend(lab.path)
    shown = lab.run("--collect-only").exits(0)
    assert "  molecule formula:CH4  " in shown.out
    found = lab.run("--collect-only", "-q").ids()
    assert found == lab.spawn("--experiments", ".", "--collect-only", "-q", PYTHONPATH=str(lab.path)).ids()
    out = lab.run().exits(0).says("molecule formula:CH4", "molecule formula:H2O", "fixed=molecule formula:O2")
    out.omits(" at 0x", "0x7")
    (sweep,) = lab.sweeps()
    with Trajectory.open(sweep) as traj:
        for text in (repr(traj), repr(traj[0]), repr(traj.aggregate()), repr(traj.par.m), traj._repr_html_()):
            assert " at 0x" not in text
        assert "molecule formula:CH4" in repr(traj.aggregate())


def test_arrays_of_one_shape_are_told_apart(lab):
    lab.experiment(
        """
        import numpy as np

        @experiment.replicate(2)
        @experiment.parametrize("w", [np.zeros(3), np.ones(3)])
        def exp_a(e, w):
            e["x"] = float(w.sum())
        """
    )

    def cells(text):
        return {word for word in text.replace("×", " ").split() if word.startswith("ndarray[3]")}

    preview, table = cells(lab.run("--collect-only").exits(0).out), cells(lab.run().exits(0).out)
    assert len(preview) == 2
    assert table == preview
    (sweep,) = lab.sweeps()
    with Trajectory.open(sweep) as traj:
        first, second = repr(traj.aggregate()).splitlines()[2:]
    assert first.split("  ")[0] != second.split("  ")[0]
    hashes = {line.split()[2].rpartition("~")[2] for line in (first, second)}
    assert hashes == {cell.rpartition("~")[2] for cell in table}
