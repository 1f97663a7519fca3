"""Parameters: which there are, how defaults and sweep values are checked, how text is read."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from expedition.authoring.parameters import MISSING, Parameter, name_of_type
from expedition.errors import ExperimentError


def read(annotation: Any, text: str) -> Any:
    return Parameter("x", "argument", annotation).read(text, origin="-P", experiment="exp_a")


def check(annotation: Any, value: Any) -> Any:
    return Parameter("x", "argument", annotation).check(value, origin="the sweep", experiment="exp_a")


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(found, float) and math.isnan(found)
    return type(found) is type(wanted) and bool(found == wanted)


class TestText:
    """DESIGN §3: YAML 1.2, then the annotation; unquoted text stays text where that is accepted."""

    @pytest.mark.parametrize(
        ("annotation", "text", "value"),
        [
            (int, "3", 3),
            (int, "-3", -3),
            (int, "0x1f", 31),
            (int, "0o17", 15),
            (int, "010", 10),
            (float, "1", 1.0),
            (float, "1e-5", 1e-5),
            (float, "1E3", 1000.0),
            (float, ".5", 0.5),
            (float, "-.inf", -math.inf),
            (float, ".nan", math.nan),
            (bool, "true", True),
            (bool, "False", False),
            (str, "abc", "abc"),
            (str, "yes", "yes"),
            (str, "null", "null"),
            (str, "1e-5", "1e-5"),
            (str, "'3'", "3"),
            (str, '"a\\nb"', "a\nb"),
            (str, "", ""),
            (str, "  spaces ", "  spaces "),
            (str, "a: [", "a: ["),
            (str, "[1, 2]", "[1, 2]"),
            (str, "'open", "'open"),
            (str, "日本 ü", "日本 ü"),
            (str, "a=b", "a=b"),
            (int | str, "3", 3),
            (int | str, "'3'", "3"),
            (int | str, "3.5", "3.5"),
            (int | str, "null", "null"),
            (int | str, "{", "{"),
            (str | None, "null", None),
            (str | None, "~", None),
            (str | None, "'null'", "null"),
            (str | None, "None", "None"),
            (str | None, "true", "true"),
            (int | None, "null", None),
            (int | None, "3", 3),
            (float | None, "3", 3.0),
            (bool | str, "true", True),
            (bool | str, "yes", "yes"),
            (int | float, "3", 3),
            (int | float, "3.0", 3.0),
            (float | int, "3", 3),
            (list[int], "[1, 2]", [1, 2]),
            (list[float], "[1, 2.5]", [1.0, 2.5]),
            (list[str], "[yes, no]", ["yes", "no"]),
            (list, "[1, a]", [1, "a"]),
            (tuple[int, ...], "[1, 2]", (1, 2)),
            (tuple[int, str], "[1, a]", (1, "a")),
            (set[int], "[1, 2]", {1, 2}),
            (dict[str, float], "{a: 1, b: 1e-5}", {"a": 1.0, "b": 1e-5}),
            (dict[str, float], "a: 1", {"a": 1.0}),
            (Literal["a", 3], "a", "a"),
            (Literal["a", 3], "3", 3),
            (datetime, "2026-11-23T01:02:03", datetime(2026, 11, 23, 1, 2, 3)),
            (Path, "a/b", Path("a/b")),
            (Path, "3", Path("3")),
            (Path, "null", Path("null")),
            (Path, "{x", Path("{x")),
            (bytes, "1", b"1"),
            (Any, "3", 3),
            (Any, "yes", "yes"),
            (Any, "'3'", "3"),
            (Any, "[1]", [1]),
            (MISSING, "1e-5", 1e-5),
            (MISSING, "null", None),
            (MISSING, "yes", "yes"),
        ],
    )
    def test_reads(self, annotation, text, value):
        assert same(read(annotation, text), value)

    @pytest.mark.parametrize(
        ("annotation", "text"),
        [
            (int, "3.0"),
            (int, "1e3"),
            (int, "true"),
            (int, "'3'"),
            (int, "abc"),
            (int, ""),
            (int, "1_000"),
            (int, "1:30"),
            (float, "nan"),
            (float, "true"),
            (float, "'1'"),
            (bool, "yes"),
            (bool, "1"),
            (int | None, "3.5"),
            (list[int], "1"),
            (list[int], "1,2"),
            (list[int], "[1.5]"),
            (list[str], "[1]"),
            (tuple[int, str], "[1]"),
            (dict[str, float], "[1]"),
            (Literal["a", 3], "b"),
            (Literal["a", 3], "'3'"),
            (datetime, "soon"),
        ],
    )
    def test_refuses(self, annotation, text):
        with pytest.raises(ExperimentError) as caught:
            read(annotation, text)
        message = str(caught.value)
        assert message.startswith(f"exp_a: parameter x must be {name_of_type(annotation)}, but got ")
        assert " from -P" in message

    @pytest.mark.parametrize("annotation", [MISSING, Any, int, list[int]])
    @pytest.mark.parametrize("text", ["{", "a: b: c", "!!python/object:os.system x", "*nothing", "- - ]"])
    def test_text_that_is_no_yaml(self, annotation, text):
        with pytest.raises(ExperimentError, match="-P, line 1"):
            read(annotation, text)

    @pytest.mark.parametrize("annotation", [str, str | None, Any, MISSING])
    def test_nothing_is_evaluated(self, annotation, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        text = "__import__('os').system('touch evaluated')"
        assert read(annotation, text) == text
        assert list(tmp_path.iterdir()) == []

    def test_dataclasses_enums_and_models(self, plan):
        made = plan(
            """
            import enum
            from dataclasses import dataclass, field
            from typing import Annotated
            from pydantic import Field

            class Color(enum.Enum):
                RED = "red"
                ONE = 1

            @dataclass
            class Net:
                depth: int = 2
                rates: list[float] = field(default_factory=list)

            @experiment
            def exp_a(e, color: Color = Color.RED, net: Net = Net(), k: Annotated[int, Field(gt=0)] = 1):
                pass
            """,
            "color=1",
            "net={depth: 3, rates: [1, 2]}",
            "k=4",
        )
        assert made.fixed["color"].name == "ONE"
        assert (made.fixed["net"].depth, made.fixed["net"].rates) == (3, [1.0, 2.0])
        assert made.fixed["k"] == 4

    def test_a_constraint_of_an_annotation_holds(self, plan):
        source = """
            from typing import Annotated
            from pydantic import Field

            @experiment
            def exp_a(e, k: Annotated[int, Field(gt=0)] = {}):
                pass
        """
        with pytest.raises(ExperimentError, match=r"k must be int, but got -4 .*greater than 0"):
            plan(source.format(1), "k=-4")
        with pytest.raises(ExperimentError, match=r"got 0 \(int\) from its default"):
            plan(source.format(0))


class TestValues:
    @pytest.mark.parametrize(
        ("annotation", "value", "typed"),
        [
            (int, 3, 3),
            (float, 3, 3.0),
            (float, 2**53, 2.0**53),
            (float | None, 3, 3.0),
            (list[float], [1, 2], [1.0, 2.0]),
            (int, np.int64(3), 3),
            (int, np.uint8(3), 3),
            (float, np.float32(0.5), 0.5),
            (float, np.float64(0.1), 0.1),
            (bool, np.bool_(True), True),
            (str, np.str_("a"), "a"),
            (int | None, np.int64(3), 3),
            (Literal[1, 2], np.int64(2), 2),
            (complex, 1 + 2j, 1 + 2j),
            (Path, Path("a"), Path("a")),
            (tuple[int, ...], (1, 2), (1, 2)),
            (Any, object, object),
            (MISSING, [1], [1]),
        ],
    )
    def test_keeps_or_converts_without_loss(self, annotation, value, typed):
        assert same(check(annotation, value), typed)

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (int, 1.0),
            (int, True),
            (int, "1"),
            (int, None),
            (int, np.float64(2.0)),
            (float, "1"),
            (float, True),
            (float, 2**53 + 1),
            (float, 10**400),
            (bool, 1),
            (str, 1),
            (str, b"a"),
            (list[int], (1, 2)),
            (tuple[int, ...], [1, 2]),
            (list[int], [1, "a"]),
            (dict[str, float], {"a": "b"}),
            (Path, "a"),
            (Literal["a"], "b"),
            (int | None, "a"),
        ],
    )
    def test_refuses(self, annotation, value):
        with pytest.raises(ExperimentError) as caught:
            check(annotation, value)
        message = str(caught.value)
        for part in (
            "exp_a",
            "x",
            name_of_type(annotation),
            repr(value)[:20],
            type(value).__name__,
            "the sweep",
        ):
            assert part in message

    def test_the_message_names_the_place_in_a_list(self):
        with pytest.raises(ExperimentError, match=r"\(Input should be a valid integer at \[1\]\)"):
            check(list[int], [1, "a"])


class TestDiscovery:
    def test_arguments_variables_fixtures_and_opaque_variables(self, plan):
        made = plan(
            """
            import math
            from math import pi as PI

            FOLDS: int = 3  # of the cross validation
            RATE = 0.5
            SHARE = math.pi / 2
            MODEL = lambda x: x

            @experiment
            def exp_a(e, tmp_path, request, alpha: float = 1, *, flag: bool = True):
                pass
            """
        )
        assert list(made.parameters) == ["alpha", "flag", "FOLDS", "RATE", "SHARE"]
        assert made.fixtures == ("e", "tmp_path", "request")
        assert made.opaque == {"MODEL": "function"}
        assert made.fixed == {"alpha": 1.0, "flag": True, "FOLDS": 3, "RATE": 0.5, "SHARE": math.pi / 2}
        assert type(made.fixed["alpha"]) is float
        assert {n: p.kind for n, p in made.parameters.items() if p.kind == "variable"}.keys() == {
            "FOLDS",
            "RATE",
            "SHARE",
        }
        assert made.parameters["FOLDS"].description == "of the cross validation"
        assert {n: p.type_name for n, p in made.parameters.items()} == {
            "alpha": "float",
            "flag": "bool",
            "FOLDS": "int",
            "RATE": "float",
            "SHARE": "float",
        }
        assert set(made.origins.values()) == {"default"}

    def test_annotations_as_text(self, plan):
        source = """
            from __future__ import annotations
            from typing import TYPE_CHECKING, Final, Optional
            if TYPE_CHECKING:
                from elsewhere import Thing

            N: Final[int] = {n}
            M: Final = 4
            O: Optional[int] = None

            @experiment
            def exp_a(e{thing}, a: Optional[int] = {a}):
                pass
        """
        made = plan(source.format(n=3, a=None, thing=""))
        assert {n: p.type_name for n, p in made.parameters.items()} == {
            "a": "int | None",
            "N": "int",
            "M": "int",
            "O": "int | None",
        }
        with pytest.raises(ExperimentError, match="N must be int, but got 'x'"):
            plan(source.format(n="'x'", a=1, thing=""))
        with pytest.raises(ExperimentError, match=r"a must be int \| None, but got 'x'"):
            plan(source.format(n=1, a="'x'", thing=""))
        # A name that only a type checker knows costs no other parameter its value.
        assert plan(source.format(n=3, a=5, thing=": Thing")).fixed["a"] == 5

    @pytest.mark.parametrize(
        ("signature", "message"),
        [
            ("e, *rest", "names its parameters"),
            ("e, **rest", "names its parameters"),
            ("e, a=1, /", "positional-only"),
            ("e, /, a=1", "positional-only"),
            ("e, run=1", "reserved word"),
            ("e, replicate=1", "reserved word"),
            ("e, results=1", "reserved word"),
            ("e, N=2", "both an argument and a variable"),
            ("e, a=object()", "cannot be recorded exactly"),
            ("e, a=lambda: 0", "cannot be recorded exactly"),
            ("e, a: int = 1.5", "a must be int, but got 1.5 (float) from its default"),
            ("e, a: int = None", "a must be int, but got None (NoneType) from its default"),
            ("e, a: list[int] = (1,)", "a must be list[int]"),
        ],
    )
    def test_what_an_experiment_cannot_be(self, plan, signature, message):
        with pytest.raises(ExperimentError) as caught:
            plan(f"N = 1\n@experiment\ndef exp_a({signature}): pass")
        assert str(caught.value).startswith("exp_a: ")
        assert message in str(caught.value)

    def test_names_of_types(self):
        assert name_of_type(int) == "int"
        assert name_of_type(list[float]) == "list[float]"
        assert name_of_type(int | None) == "int | None"
        assert name_of_type(Literal["a", 1]) == "Literal['a', 1]"
        assert name_of_type(Any) == "Any"


def test_an_integer_too_large_for_a_float_is_refused() -> None:
    parameter = Parameter("x", "argument", float)
    with pytest.raises(ExperimentError, match="parameter x must be float"):
        parameter.read("1" + "0" * 400, origin="-P", experiment="exp_a")
