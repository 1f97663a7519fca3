"""What people write into the attrs of a frame or series comes back, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from expedition.errors import UnstorableError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.values import FileSink, decode, encode
from tests.trajectory.conftest import SweepBuilder
from tests.values.equality import exactly_equal

ATTRS = {"unit": "K", "limits": (1, 2.5), 7: None, "bins": np.arange(3), "text": "ü" * 10, "few": {"a": [1]}}


def with_attrs(value: Any, attrs: dict[Any, Any]) -> Any:
    value = value.copy()
    value.attrs = attrs
    return value


FRAMES = {
    "frame": pd.DataFrame({"x": np.arange(300.0), "y": ["a", None, "c"] * 100}),
    "series": pd.Series(np.arange(300.0), name="s"),
    "objects": pd.DataFrame({"x": [{1}, (2,)]}),
    "numbers as names": pd.DataFrame(np.zeros((2, 2))),
}


@pytest.mark.parametrize("value", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("attrs", [ATTRS, {"unit": "K"}], ids=["rich", "text"])
def test_come_back(value: Any, attrs: dict[Any, Any], tmp_path: Path) -> None:
    value = with_attrs(value, attrs)
    for sink in (None, FileSink(tmp_path)):
        tree = encode(value, name="x", sink=sink)
        found = decode(tree, folder=tmp_path)
        assert exactly_equal(found, value)
        assert exactly_equal(found.attrs, attrs)
    assert value.attrs is not None
    assert exactly_equal(value.attrs, attrs)  # which storing left alone


def test_of_csv_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "expedition.values.files.find_spec", lambda name: None if name == "pyarrow" else object()
    )
    value = with_attrs(pd.DataFrame({"x": np.arange(300)}), ATTRS)
    tree = encode(value, name="x", sink=FileSink(tmp_path))
    assert tree["format"] == "csv"
    assert exactly_equal(decode(tree, folder=tmp_path).attrs, ATTRS)


@pytest.mark.parametrize("sink", [False, True], ids=["json", "file"])
def test_that_cannot_be_kept_are_refused(tmp_path: Path, sink: bool) -> None:
    value = with_attrs(pd.DataFrame({"x": np.arange(300.0)}), {"function": len})
    with pytest.raises(UnstorableError, match=r"attrs.*function"):
        encode(value, name="x", sink=FileSink(tmp_path) if sink else None)
    assert not list(tmp_path.rglob("*.*"))


def test_come_back_from_a_trajectory(tmp_path: Path) -> None:
    builder = SweepBuilder(tmp_path / "sweep", [{"i": i} for i in range(3)])
    values = [with_attrs(FRAMES["frame"], {"unit": "K", "run": i}) for i in range(2)]
    values.append(FRAMES["frame"].copy())
    for index, value in enumerate(values):
        builder.run(index, {"f": value, "s": with_attrs(FRAMES["series"], {"unit": "K"})})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.f.encoding == "frame-per-run"
        assert [traj.res.f[index].attrs for index in range(3)] == [value.attrs for value in values]
        assert traj.res.s[2].attrs == {"unit": "K"}
        assert exactly_equal(traj.res.f[1], values[1])
