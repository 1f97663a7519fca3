"""Codecs for classes of one's own: what they keep comes back equal, or is refused when it is stored."""

from __future__ import annotations

import copy
import enum
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition import Codec, Run, RunRecord, Undecoded, register_codec
from expedition.errors import CodecError, DamagedError, UndecodedError, UnstorableError
from expedition.values import FileSink, canonical, codecs, decode, encode, is_storable


class Vector:
    """Knows no equality of its own."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y


class VectorCodec(Codec):
    name = "vector"
    types = (Vector,)

    def encode(self, value: Vector) -> Any:
        return {"x": value.x, "y": value.y}

    def decode(self, parts: Any, version: int) -> Vector:
        return Vector(parts["x"], parts["y"])


class Angle:
    """Kept by a codec that inherits from nothing."""

    def __init__(self, degrees: float, unit: str = "deg") -> None:
        self.degrees, self.unit = degrees, unit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Angle) and (self.degrees, self.unit) == (other.degrees, other.unit)

    __hash__ = None  # type: ignore[assignment]


class AngleCodec:
    name = "angle"
    version = 2

    def matches(self, value: object) -> bool:
        return isinstance(value, Angle)

    def encode(self, value: Angle) -> Any:
        return value.degrees, value.unit

    def decode(self, parts: Any, version: int) -> Angle:
        return Angle(parts) if version == 1 else Angle(*parts)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_registered", {})


@pytest.fixture
def vector() -> None:
    register_codec(VectorCodec())


def test_a_value_comes_back_with_its_type(vector: None) -> None:
    tree = encode([Vector(1, 2.5), {"v": Vector(None, (3,))}])
    assert tree[0] == {"$": "custom", "codec": "vector", "version": 1, "v": {"x": 1, "y": 2.5}}  # type: ignore[index,call-overload]
    first, second = decode(tree)
    assert type(first) is Vector
    assert (first.x, first.y) == (1, 2.5)
    assert second["v"].y == (3,)


def test_codecs_may_stand_in_each_other(vector: None) -> None:
    register_codec(AngleCodec())  # type: ignore[arg-type]
    value = decode(encode(Vector(Vector(Angle(90.0), 1), Angle(1.0))))
    assert value.x.x == Angle(90.0)
    assert value.y == Angle(1.0)


def test_arrays_within_go_to_files_like_any_others(vector: None, tmp_path: Path) -> None:
    array = np.arange(1000.0)
    tree = encode(Vector(array, array[:3]), name="model/v", sink=FileSink(tmp_path))
    assert tree["v"]["x"]["file"] == "data/model.v.x.npy"  # type: ignore[index,call-overload]
    value = decode(tree, folder=tmp_path)
    assert (value.x == array).all()
    codecs.unregister_codec("vector")
    assert (decode(tree, folder=tmp_path).value["x"] == array).all()


def test_equal_text_means_equal_value(vector: None) -> None:
    assert canonical(Vector(1, 2)) == canonical(Vector(1, 2))
    assert canonical(Vector(1, 2)) != canonical(Vector(1, 2.0))
    assert canonical(Vector(1, 2)) != canonical({"x": 1, "y": 2})
    assert is_storable(Vector(1, 2))
    assert not is_storable(Vector(1, object()))


def test_what_expedition_keeps_itself_is_never_offered() -> None:
    class Greedy(VectorCodec):
        def matches(self, value: object) -> bool:
            return True

    register_codec(Greedy())
    for value in (1, 2.5, "a", None, b"b", [1], {"a": (1, 2)}, {3}, np.float32(1), np.arange(3)):
        assert "custom" not in canonical(value)
    with pytest.raises(CodecError, match=r"values of int are kept as they are"):
        register_codec(type("Bad", (VectorCodec,), {"name": "b", "types": (int,)})())
    with pytest.raises(CodecError, match=r"values of ndarray are kept as they are"):
        register_codec(type("Bad", (VectorCodec,), {"name": "b", "types": (np.ndarray,)})())


def test_a_codec_may_take_over_dataclasses_enums_and_subclasses() -> None:
    @dataclass
    class Point:
        x: int

    class Color(enum.Enum):
        RED = 1

    class Own(np.ndarray):  # type: ignore[type-arg]
        pass

    class Mixed(Codec):
        name, types = "mixed", (Point, Color, Own)

        def encode(self, value: Any) -> Any:
            return type(value).__name__, value.x if isinstance(value, Point) else np.asarray(
                value if isinstance(value, Own) else value.value
            )

        def decode(self, parts: Any, version: int) -> Any:
            kind, content = parts
            return {"Point": Point, "Color": Color, "Own": lambda array: array.view(Own)}[kind](content)

    register_codec(Mixed())
    assert decode(encode(Point(3))) == Point(3)
    assert decode(encode(Color.RED)) is Color.RED
    own = decode(encode(np.arange(3).view(Own)))
    assert type(own) is Own
    assert own.tolist() == [0, 1, 2]


# what does not come back is refused -----------------------------------------------------------------------------


def _codec(**members: Any) -> Codec:
    codec: Codec = type("Spoilt", (VectorCodec,), members)()
    return codec


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"decode": lambda self, parts, version: parts}, "gives a dict back"),
        ({"decode": lambda self, parts, version: Vector(0, 0)}, "another value back, which has other parts"),
        ({"decode": lambda self, parts, version: 1 // 0}, "cannot put it together again: ZeroDivisionError"),
        ({"encode": lambda self, value: 1 // 0}, "its codec failed: ZeroDivisionError: integer"),
        ({"matches": lambda self, value: 1 // 0}, "its codec failed: ZeroDivisionError"),
        ({"encode": lambda self, value: value}, "it contains itself"),
        ({"encode": lambda self, value: Vector(1, 2)}, "nested deeper than 100 levels"),
    ],
)
def test_a_codec_that_fails_is_refused_with_place_and_reason(members: dict[str, Any], message: str) -> None:
    register_codec(_codec(**members))
    with pytest.raises(
        UnstorableError, match=r"^model\['w'\]\[1\]: a value of type .*Vector cannot.*" + message
    ):
        encode({"w": [0, Vector(1, 2)]}, name="model")


def test_what_a_codec_gives_must_be_storable_itself(vector: None) -> None:
    with pytest.raises(UnstorableError, match=r"^v\['y'\]: a value of type object"):
        encode(Vector(1, object()), name="v")


def test_a_codec_that_forgets_a_member_is_found_out_by_the_equality_of_the_class() -> None:
    class Forgetful(AngleCodec):
        def encode(self, value: Angle) -> Any:
            return (value.degrees,)

    register_codec(Forgetful())  # type: ignore[arg-type]
    with pytest.raises(UnstorableError, match="is not equal to it"):
        encode(Angle(1.0, "rad"))
    assert decode(encode(Angle(1.0))) == Angle(1.0)
    assert is_storable(Angle(float("nan")))  # which is not equal to itself, and no fault of the codec


def test_the_check_sees_no_object_of_the_caller() -> None:
    class Popping(VectorCodec):
        def encode(self, value: Vector) -> Any:
            return value.__dict__

        def decode(self, parts: Any, version: int) -> Vector:
            return Vector(parts.pop("x"), parts.pop("y"))

    register_codec(Popping())
    value = Vector(1, [2])
    assert decode(encode(value)).y == [2]
    assert vars(value) == {"x": 1, "y": [2]}


def test_a_chain_of_values_costs_no_more_than_its_length() -> None:
    calls = 0

    class Counting(VectorCodec):
        def encode(self, value: Vector) -> Any:
            nonlocal calls
            calls += 1
            return super().encode(value)

    register_codec(Counting())
    value = None
    for depth in range(30):
        value = Vector(depth, value)
    encode(value)
    assert calls <= 4 * 30


# reading without the codec --------------------------------------------------------------------------------------


def test_without_its_codec_one_value_is_undecoded_and_the_others_are_read(
    vector: None, tmp_path: Path
) -> None:
    with Run.detached(tmp_path) as run:
        run["v"], run["deep"], run["x"] = Vector(1, 2), [0, Vector(3, 4)], 1.5
        run.derived("d", Vector(5, 6))
    codecs.unregister_codec("vector")
    record = RunRecord(tmp_path)
    assert record.data["x"] == 1.5
    value = record.data["v"]
    assert value == Undecoded("vector", 1, {"x": 1, "y": 2})
    assert record.data["deep"][1].value == {"x": 3, "y": 4}
    assert record.derived["d"].value == {"x": 5, "y": 6}
    assert "no codec 'vector' is registered: register it with expedition.register_codec" in repr(value)
    assert "{'x': 1, 'y': 2}" in repr(value)
    with pytest.raises(UndecodedError, match=r"no 'norm'.*a codec 'vector' stored.*register_codec.*\.value"):
        value.norm()
    assert not hasattr(value, "x")
    register_codec(VectorCodec())
    assert RunRecord(tmp_path).data["v"].x == 1


def test_an_undecoded_value_is_stored_again_as_it_was(vector: None) -> None:
    tree = encode({"v": Vector(1, (2, Vector(3, np.arange(2))))})
    codecs.unregister_codec("vector")
    value = decode(tree)
    assert encode(value) == tree
    register_codec(VectorCodec())
    assert encode(value) == tree
    assert decode(encode(value))["v"].y[1].x == 3


def test_undecoded_values_can_be_copied_and_sorted_into_sets() -> None:
    value = Undecoded("vector", 1, {"x": [1, 2]}, "no codec")
    for again in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):  # noqa: S301
        assert again == value
        assert len({again, value}) == 1
    assert len(repr(Undecoded("vector", 1, "x" * 10_000, "no codec"))) < 300


def test_near_matches_help_with_a_name() -> None:
    register_codec(VectorCodec())
    tree = {"$": "custom", "codec": "vectro", "version": 1, "v": 0}
    assert "did you mean 'vector'?" in repr(decode(tree))
    with pytest.raises(CodecError, match="did you mean 'vector'"):
        codecs.unregister_codec("vectro")


def test_versions(vector: None) -> None:
    register_codec(AngleCodec())  # type: ignore[arg-type]
    old = {"$": "custom", "codec": "angle", "version": 1, "v": 90.0}
    assert decode(old) == Angle(90.0)
    newer = decode({**old, "version": 3, "v": [1.0, "rad", "new"]})
    assert newer.value == [1.0, "rad", "new"]
    assert "stored by version 3 of the codec 'angle', and version 2 is here" in repr(newer)


def test_a_codec_that_fails_on_reading_costs_one_value(vector: None) -> None:
    class Failing(VectorCodec):
        def decode(self, parts: Any, version: int) -> Vector:
            del parts["x"]
            raise RuntimeError("no licence")

    tree = encode([1, Vector(1, 2)])
    register_codec(Failing(), replace=True)
    one, value = decode(tree)
    assert one == 1
    assert value.value == {"x": 1, "y": 2}
    assert "the codec 'vector' failed: RuntimeError: no licence" in repr(value)


# registering ----------------------------------------------------------------------------------------------------


def test_another_codec_of_the_name_is_refused_unless_asked_for(vector: None) -> None:
    class Other(VectorCodec):
        types = ()

    register_codec(VectorCodec())
    with pytest.raises(
        CodecError, match=r"'vector' is taken by VectorCodec of .*test_codecs\.py.*replace=True"
    ):
        register_codec(Other())
    assert decode(encode(Vector(1, 2))).x == 1
    register_codec(Other(), replace=True)
    assert not is_storable(Vector(1, 2))


def test_a_class_has_one_codec(vector: None) -> None:
    with pytest.raises(CodecError, match=r"Vector has the codec 'vector' .* already"):
        register_codec(type("Second", (VectorCodec,), {"name": "second"})())


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (VectorCodec, r"register_codec\(VectorCodec\(\)\)"),
        (object(), "object is no codec, it lacks name, version, encode, decode, types or matches"),
        (_codec(name="a b"), "letters, digits"),
        (_codec(name=""), "letters, digits"),
        (_codec(name=3), "but it is 3"),
        (_codec(version=0), "whole number from 1 on"),
        (_codec(version=True), "whole number from 1 on"),
        (_codec(types=[Vector]), "a tuple of classes"),
        (_codec(types=("Vector",)), "a tuple of classes"),
    ],
)
def test_members_are_checked(codec: Any, message: str) -> None:
    with pytest.raises(CodecError, match=message) as caught:
        register_codec(codec)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "tag",
    [
        {"$": "custom"},
        {"$": "custom", "codec": 1, "version": 1, "v": 0},
        {"$": "custom", "codec": "vector", "version": True, "v": 0},
        {"$": "custom", "codec": "vector", "version": 1},
        {"$": "custom", "codec": "vector", "version": 1, "v": {"$": "nothing"}},
    ],
)
def test_malformed_tags_are_damage(vector: None, tag: Any) -> None:
    with pytest.raises(DamagedError):
        decode(tag)


def test_no_name_in_a_file_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("trap", "trap:Codec", "os.system", "expedition.values.codecs"):
        assert type(decode({"$": "custom", "codec": name, "version": 1, "v": "echo"})) is Undecoded
