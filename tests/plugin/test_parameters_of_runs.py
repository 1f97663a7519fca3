"""Parameters as a run sees them and as its record keeps them: values, origins, precedence, held variables."""

from __future__ import annotations

import pytest

from expedition import Archive

VALUES = """
from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import numpy as np


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Net:
    depth: int
    width: float = 1.0


@experiment.parametrize("width", np.linspace(0, 1, 2))
@experiment.parametrize("count", np.arange(2))
def exp_a(
    e,
    width: float,
    count: int,
    flag: bool = True,
    text: str = "ü 日本",
    maybe: int | None = None,
    old: Optional[float] = 2,
    one: Literal["a", "b"] = "a",
    many: list[int] = [1, 2],
    some: tuple[int, ...] = (1, 2),
    table: dict[str, float] = {"x": 1},
    path: Path = Path("a/b"),
    color: Color = Color.RED,
    net: Net = Net(2),
    anything=(1, "x", None),
):
    values = dict(locals())
    del values["e"]
    assert dict(e.params) == values
    assert {n: type(v) for n, v in e.params.items()} == {n: type(v) for n, v in values.items()}
    assert type(width) is float and type(count) is int and type(old) is float and table == {"x": 1.0}
    assert e.flag is True and e.net == Net(2)
    e["seen"] = repr(sorted((n, repr(v)) for n, v in values.items() if n not in ("color", "net")))
"""


def test_values_of_every_kind_come_back_equal(lab):
    lab.experiment(VALUES.replace("from __future__ import annotations\n", ""))
    lab.run().exits(0)
    record = lab.records()[3]
    params = record.params
    assert (params["width"], params["count"]) == (1.0, 1)
    assert (params["some"], params["many"], params["table"]) == ((1, 2), [1, 2], {"x": 1.0})
    assert params["anything"] == (1, "x", None)
    assert str(params["path"]) == "a/b"
    assert (params["old"], type(params["old"])) == (2.0, float)
    about = record.meta["parameters"]
    assert {n: a["type"] for n, a in about.items()} == {
        "width": "float",
        "count": "int",
        "flag": "bool",
        "text": "str",
        "maybe": "int | None",
        "old": "float | None",
        "one": "Literal['a', 'b']",
        "many": "list[int]",
        "some": "tuple[int, ...]",
        "table": "dict[str, float]",
        "path": "Path",
        "color": "Color",
        "net": "Net",
        "anything": "tuple",
    }
    assert {n for n, a in about.items() if a["origin"] == "sweep"} == {"width", "count"}
    assert {a["origin"] for a in about.values()} == {"sweep", "default"}


def test_annotations_from_the_future(lab):
    lab.file("exp_a.py", VALUES.replace("import enum", "import enum\nfrom expedition import experiment", 1))
    lab.run().exits(0)
    assert [r.params["width"] for r in lab.records()] == [0.0, 0.0, 1.0, 1.0]


def test_precedence_and_recorded_origins(lab):
    """Default < sweep < file < option; a later one wins, and a targeted one is for its experiment only."""
    lab.experiment(
        """
        A: int = 1
        B: int = 1
        C: int = 1

        @experiment.parametrize("s", [10, 20])
        def exp_a(e, s: int, d: str = "d"):
            e["all"] = [A, B, C, s, d]

        @experiment
        def exp_b(e, d: str = "d"):
            e["all"] = [A, B, C, d]
        """
    )
    lab.file("p.yml", "B: 2\nexp_b:C: 5\nd: 'from file'\n")
    lab.file("sub/q.yml", "B: 3\n")
    lab.run(
        "--params-file=p.yml", "-P", "C=4", "--param", "exp_b:d= x=y: z ", "--params-file", "sub/q.yml"
    ).exits(0)
    first, second = lab.records(experiment="exp_a")
    other = lab.record(experiment="exp_b")
    assert first.data == {"all": [1, 3, 4, 10, "from file"]}
    assert second.data == {"all": [1, 3, 4, 20, "from file"]}
    assert other.data == {"all": [1, 3, 4, " x=y: z "]}
    origins = {n: a["origin"] for n, a in first.meta["parameters"].items()}
    assert origins == {"A": "default", "B": "sub/q.yml", "C": "-P", "s": "sweep", "d": "p.yml"}
    assert other.meta["parameters"]["d"]["origin"] == "-P"


def test_an_option_collapses_a_swept_axis(lab):
    lab.experiment(
        """
        @experiment.parametrize("a", [1, 2, 3])
        @experiment.parametrize("b", ["x", "y"])
        def exp_a(e, a: int, b: str):
            pass
        """
    )
    assert lab.run("-P", "a=7", "--collect-only", "-q").ids() == [
        "exp_a.py::exp_a[b=x]",
        "exp_a.py::exp_a[b=y]",
    ]
    lab.run("-P", "a=7").exits(0)
    assert [r.params for r in lab.records()] == [{"a": 7, "b": "x"}, {"a": 7, "b": "y"}]
    assert lab.records()[0].meta["parameters"]["a"]["origin"] == "-P"
    lab.run("-P", "a=7", "-P", "b=z", "--archive", "single").exits(0)
    (record,) = Archive(lab.path / "single").runs()
    assert record.params == {"a": 7, "b": "z"}


def test_option_text_is_never_evaluated(lab):
    lab.experiment("@experiment\ndef exp_a(e, x: str = 'd', y='d'): e['seen'] = [x, y]")
    code = "__import__('os').system('touch evaluated')"
    lab.run("-P", f"x={code}", "-P", f"y={code}").exits(0)
    assert lab.record().data == {"seen": [code, code]}
    assert not (lab.path / "evaluated").exists()
    lab.refused("-P", "y=!!python/object/apply:os.system ['touch evaluated']", workers=False)
    assert not (lab.path / "evaluated").exists()


def test_option_text_by_annotation(lab):
    lab.experiment(
        """
        from pathlib import Path

        @experiment
        def exp_a(
            e, a: float = 0.0, b: str = "", c: int | None = 1, d: int | str = 0, f: str = "",
            g: str | None = "", h: Path = Path("x"), i: list[float] = [],
        ):
            e["types"] = [type(v).__name__ for v in (a, b, c, d, f, g, h, i)]
        """
    )
    options = {
        "a": "1e-5",
        "b": "yes",
        "c": "null",
        "d": "3",
        "f": "'null'",
        "g": "null",
        "h": "7",
        "i": "[1, 1e-3]",
    }
    lab.run(*(part for name, text in options.items() for part in ("-P", f"{name}={text}"))).exits(0)
    record = lab.record()
    assert record.data["types"] == ["float", "str", "NoneType", "int", "str", "NoneType", "PosixPath", "list"]
    params = {**record.params, "h": str(record.params["h"])}
    assert params == {
        "a": 1e-5,
        "b": "yes",
        "c": None,
        "d": 3,
        "f": "null",
        "g": None,
        "h": "7",
        "i": [1.0, 0.001],
    }


def test_variables_below_the_function_are_parameters_and_imported_ones_are_none(lab):
    lab.file("constants.py", "IMPORTED = 1\n")
    lab.experiment(
        """
        from typing import TYPE_CHECKING
        from constants import IMPORTED

        @experiment
        def exp_a(e): e["seen"] = [BELOW, IMPORTED]

        BELOW: int | None = 2
        """
    )
    lab.run("-P", "BELOW=3").exits(0)
    record = lab.record()
    assert record.data == {"seen": [3, 1]}
    assert record.params == {"BELOW": 3}
    assert record.meta["parameters"]["BELOW"]["type"] == "int | None"


class TestVariables:
    def test_hold_the_values_of_the_run_and_are_restored(self, lab):
        """Bare globals, helpers, fixtures and the record agree, also when a run fails."""
        lab.experiment(
            """
            import pytest
            from helper import LIMIT

            N: int = 1  # how many
            # :param RATES: learning rates
            #   by layer
            RATES: list[float] = [0.1]
            MODEL = lambda: N

            def helper():
                return N, list(RATES)

            @pytest.fixture
            def seen():
                return N

            @experiment.parametrize("N", [2, 3, 4])
            def exp_a(e, seen):
                e["seen"] = [N, e.N, e.params["N"], seen, helper()[0], MODEL()]
                e["rates"] = helper()[1]
                RATES.append(9.0)
                assert N != 3

            @experiment
            def exp_b(e):
                e["seen"] = [N, *RATES, LIMIT]
            """
        )
        lab.file("helper.py", "LIMIT = 99\n")
        lab.run("-p", "no:randomly").exits(1)
        for record, n in zip(lab.records(experiment="exp_a"), (2, 3, 4), strict=True):
            assert record.data == {"seen": [n] * 6, "rates": [0.1]}
            assert record.params == {"N": n, "RATES": [0.1]}
            assert record.status == ("failed" if n == 3 else "done")
        after = lab.record(experiment="exp_b")
        assert after.data == {"seen": [1, 0.1, 99]}
        about = after.meta["parameters"]
        assert about["N"]["description"] == "how many"
        assert about["RATES"]["description"] == "learning rates by layer"
        assert set(about) == {"N", "RATES"}
        manifests = [s / "sweep.json" for s in lab.sweeps()]
        assert any('"MODEL"' in m.read_text() for m in manifests)

    def test_are_restored_in_this_process(self, lab):
        lab.experiment(
            """
            N = 1
            seen = []

            @experiment.parametrize("N", [2, 3])
            def exp_a(e):
                seen.append(N)
                if N == 3:
                    raise KeyboardInterrupt
            """
        )
        lab.file(
            "conftest.py",
            """
            import sys

            def pytest_unconfigure(config):
                module = sys.modules["exp_a"]
                with open("after.txt", "w") as stream:
                    stream.write(f"{module.seen} {module.N}")
            """,
        )
        lab.spawn("--experiments", ".").exits(2)
        assert (lab.path / "after.txt").read_text() == "[2, 3] 1"

    def test_mutable_defaults_are_not_shared_between_runs(self, lab):
        lab.experiment(
            """
            @experiment.replicate(2)
            @experiment.parametrize("given", [[1], [2]])
            def exp_a(e, given: list[int], grown: list[int] = []):
                grown.append(len(grown))
                given.append(0)
                e["grown"] = list(grown)
                e["given"] = list(given)
            """
        )
        lab.run().exits(0)
        assert [r.data for r in lab.records()] == [{"grown": [0], "given": [g, 0]} for g in (1, 1, 2, 2)]
        assert [r.params for r in lab.records()] == [{"given": [g], "grown": []} for g in (1, 1, 2, 2)]

    def test_parameters_cannot_be_assigned(self, lab):
        lab.experiment(
            """
            import pytest

            @experiment
            def exp_a(e, alpha=1.0):
                for assign in (
                    lambda: setattr(e, "alpha", 2),
                    lambda: e.params.__setitem__("alpha", 2),
                    lambda: e.params.update(alpha=2),
                    lambda: delattr(e, "alpha"),
                ):
                    with pytest.raises((AttributeError, TypeError)):
                        assign()
                assert e.alpha == 1.0
            """
        )
        lab.run().exits(0)


@pytest.mark.parametrize("signature", ["e", "experiment", "e, experiment", "", "e=None", "request, e"])
def test_what_the_function_may_ask_for(lab, signature):
    lab.experiment(
        f"@experiment\ndef exp_a({signature}):\n    for run in [{signature.split('=')[0] or 'None'}]: pass"
    )
    lab.run().exits(0)
    assert lab.record().status == "done"


def test_the_default_of_the_run_is_replaced_by_the_run(lab):
    lab.experiment("@experiment\ndef exp_a(e=None, alpha=2): e['x'] = alpha")
    lab.run().exits(0)
    assert lab.record().data == {"x": 2}


def test_tags_notes_description_and_constants(lab):
    lab.experiment(
        '''
        """Module text."""

        @experiment(tags=["own"], name="the name")
        def exp_a(e):
            """What it is.

            And more."""
            e.note("from the run")

        @experiment
        def exp_b(e):
            pass
        '''
    )
    lab.file(
        "exp_a.py",
        (lab.path / "exp_a.py")
        .read_text()
        .replace('"""Module text."""', "", 1)
        .replace("from expedition", '"""Module text."""\nfrom expedition', 1),
    )
    lab.run("--tag", "paper", "--tag=v2", "--note", "first note").exits(0)
    record = lab.record(experiment="the name")
    assert (record.tags, record.notes) == (["own", "paper", "v2"], ["first note", "from the run"])
    assert record.meta["experiment"]["description"].splitlines()[0] == "What it is."
    assert lab.record(experiment="exp_b").meta["experiment"]["description"] == "Module text."


def test_odd_ids_run_and_are_found_again(lab):
    """Every value makes a folder, is shown, and is run again by its printed id."""
    values = [
        "a/b",
        "a=b",
        "a::b",
        "x[1]",
        "ü 日本 😀",
        "y" * 300,
        ".",
        "-k",
        "con",
        "a\nb",
        "",
        "'q'",
        "%s",
        "~",
    ]
    lab.experiment(
        f"""
        @experiment.parametrize("x", {values!r})
        def exp_a(e, x: str):
            e["x"] = x
        """
    )
    lab.run().exits(0).omits("warning")
    assert [r.data["x"] for r in lab.records()] == values
    ids = lab.run("--collect-only", "-q").ids()
    assert len(set(ids)) == len(values)
    for node, value in zip(ids, values, strict=True):
        archive = lab.path / "again" / str(values.index(value))
        if "\n" not in node:
            lab.run("--archive", archive, path=node).exits(0)
            (record,) = Archive(archive).runs()
            assert record.data["x"] == value
    assert lab.pytest("--archive-list").exits(0).says(f"{len(values)} runs", "14 done")
