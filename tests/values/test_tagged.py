"""Tagged JSON: every value comes back equal in value and type, or is refused when it is stored."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import functools
import json
import os
import subprocess
import sys
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from expedition.errors import DamagedError, UnstorableError
from expedition.values import Opaque, canonical, decode, dumps, encode, is_storable, loads, tagged
from tests.thoroughness import examples
from tests.values.equality import cases, exactly_equal

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
quick = settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796
    BLUE = (0, 0.5)


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    ADAM = "adam"


class Bits(enum.Flag):
    A = 1
    B = 2


class Thing(enum.Enum):
    CALL = object()


@dataclasses.dataclass
class Model:
    depth: int
    rate: float = 0.1
    tags: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.depth += 1  # must not happen again on reading

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.depth


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any = None


@dataclasses.dataclass
class Listing(list):  # type: ignore[type-arg]
    x: int = 0


Pair = namedtuple("Pair", "a b")  # noqa: PYI024


class Typed(NamedTuple):
    a: int
    b: str = "x"


def round_trip(value: Any) -> Any:
    return decode(loads(dumps(encode(value)).encode("utf-8")))


berlin = ZoneInfo("Europe/Berlin")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=[])),
    st.binary(max_size=20),
    st.datetimes(timezones=st.none() | st.sampled_from([UTC, berlin, timezone(timedelta(hours=-3))])),
    st.dates(),
    st.times(timezones=st.none() | st.just(UTC)),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),  # these have no hash
    st.fractions(),
    st.uuids(),
    st.sampled_from([*Color, *Level, *Name, Bits.A, Bits.A | Bits.B, Bits(0), Thing.CALL]),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
    st.text(max_size=5).map(PurePosixPath) | st.text(max_size=5).map(PureWindowsPath),
    hnp.arrays(st.one_of(hnp.scalar_dtypes()), ()).map(lambda array: array[()]),
)
hashable = st.recursive(
    scalars, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3) | st.builds(Pair, inner, inner)
)
values = st.recursive(
    scalars | hnp.arrays(hnp.scalar_dtypes() | hnp.array_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text() | st.just("$"), inner, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict),
        st.sets(hashable, max_size=3),
        st.builds(Frozen, inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=8,
)


@quick
@given(values)
def test_values_come_back_equal_in_value_and_type(value: Any) -> None:
    tree = encode(value)
    again = decode(loads(dumps(tree).encode("utf-8")))
    assert exactly_equal(again, value)
    assert dumps(encode(again)) == dumps(tree)


EDGES = [
    0.0,
    -0.0,
    float("nan"),
    -float("nan"),
    float("-inf"),
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    7**9000,
    "\ud800\udc00",
    "\0\u2028ü",
    {"\ud800": 1},
    {1: "int", "1": "text", None: "none"},
    {"$": {"$": "tuple", "v": []}},
    {"$": "tuple", "v": [1]},
    [],
    (),
    set(),
    frozenset(),
    {},
    bytearray(b"\0x"),
    slice(1, None, (2,)),
    range(0, 3, 2),
    Decimal("-0"),
    Decimal("1.50E+400"),
    Decimal("sNaN12"),
    Fraction(1, 3),
    uuid.UUID(int=5),
    Path("a/ü"),
    Path("/tmp") / "\udcff",
    PureWindowsPath("c:\\x"),
    datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1),
    datetime(2026, 10, 25, 2, 30, fold=1),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=1), "XYZ")),
    datetime.max,
    time(2, 3, 4, 5, tzinfo=UTC, fold=1),
    date.min,
    timedelta.max,
    timedelta.min,
    OrderedDict([("b", 1), ("a", 2)]),
    np.longdouble("0.1"),
    np.longdouble("-inf"),
    np.clongdouble("1.5") * 1j,
    np.float32("nan"),
    np.float16(65504),
    np.uint64(2**64 - 1),
    np.longlong(3),
    np.bool_(True),
    np.str_("a\ud800"),
    np.bytes_(b"a\0b"),
    np.void(b"abc"),
    np.datetime64("NaT", "ns"),
    np.datetime64("2026-01-01T00:00", "25m"),
    np.timedelta64(5, "W"),
    np.zeros((), dtype=[("a", "f4"), ("b", "<U3", (2, 2))])[()],
    np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", [("c", ">f8")])], align=True)),
    np.array(1.5),
    np.zeros((0, 3)),
    np.zeros((3, 0, 2), dtype="S2"),
    np.arange(2000.0).reshape(2, -1).T,
    np.array([np.nan, -0.0, np.inf], dtype=">f4"),
    np.array([2**64 - 1], dtype="u8"),
    np.array(["ü", "\ud800"]),
    np.array([b"a\0b"]),
    np.longdouble(["0.1", "nan", "-0.0"]),
    np.ma.array([1.0, 2.0], mask=[True, False], fill_value=7.0),
    np.ma.array([1, 2]),
    np.ma.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")], mask=[(True, False)]),
    np.ma.masked,
    pd.Timestamp("2026-01-01T00:00:00.123456789"),
    pd.Timestamp("2026-10-25T01:30", tz="UTC").tz_convert(berlin),
    pd.Timedelta(5, "ns"),
    pd.NaT,
    pd.NA,
    Typed(1),
    Frozen([1], {"a": Frozen(None)}),
]


@pytest.mark.parametrize("value", cases(EDGES))
def test_edges(value: Any) -> None:
    assert exactly_equal(round_trip(value), value)
    assert is_storable(value)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 2")
def test_string_dtype() -> None:
    array = np.array(["x", "\0", "long" * 100], dtype="T")
    assert exactly_equal(round_trip(array), array)
    assert exactly_equal(round_trip(array.reshape(3, 1)[:0]), array.reshape(3, 1)[:0])
    strict = np.array(["x"], dtype=np.dtypes.StringDType(coerce=False))
    assert round_trip(strict).dtype == strict.dtype
    with pytest.raises(UnstorableError, match="na_object"):
        encode(np.array(["x"], dtype=np.dtypes.StringDType(na_object=None)))


def test_uncommon_masks_stay() -> None:
    hard = np.ma.array([1, 2], mask=[1, 0], hard_mask=True)
    assert round_trip(hard).hardmask
    before = canonical(np.ma.array([1, 2], mask=[1, 0]))
    printed = np.ma.array([1, 2], mask=[1, 0])
    repr(printed)  # numpy sets the fill value while printing
    assert canonical(printed) == before


FRAMES = [
    pd.DataFrame({"a": [1, 2], "b": [1.5, np.nan], "c": ["x", None]}),
    pd.DataFrame(np.zeros((3, 2))),
    pd.DataFrame(
        {
            "i": pd.Series([1, None], dtype="Int64"),
            "c": pd.Categorical(["u", "v"], ordered=True),
            "t": pd.date_range("2026-01-01", periods=2, tz="Europe/Berlin"),
            "d": pd.to_timedelta([1, None]),
            "s": pd.Series(["a", None], dtype="string"),
        }
    ),
    pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026-01-01", periods=2, name="day")),
    pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])),
    pd.DataFrame(),
    pd.DataFrame([[1, 2.0]], columns=["a", "a"]),
    pd.DataFrame({1: [1], "x": [2]}),
    pd.DataFrame({"o": [{1}, (2, "x")]}),
    pd.DataFrame({"f": np.array([1, 2], dtype="f2"), "g": np.array([1, 2], dtype="c8")}),
    pd.Series([1, 2, 3.5], name="s"),
    pd.Series([1, 2], name=("a", 1)),
    pd.Series(pd.period_range("2026-01", periods=3, freq="M")),
    pd.Index([1, 2], name="x"),
    pd.RangeIndex(1, 9, 2),
    pd.date_range("2026-01-01", periods=3, freq="D"),
    pd.CategoricalIndex(["a", "b"]),
    pd.Index([1, "a"]),
]


@pytest.mark.parametrize("frame", cases(FRAMES))
def test_frames_inline(frame: Any) -> None:
    assert exactly_equal(round_trip(frame), frame)


SPARSE = [
    cls(np.eye(4)[:, :3])
    for style in ("csr", "csc", "coo", "dok", "lil", "dia", "bsr")
    for cls in (getattr(sparse, f"{style}_array"), getattr(sparse, f"{style}_matrix"))
]
SPARSE += [sparse.bsr_array(np.eye(4), blocksize=(2, 2))]
if hasattr(SPARSE[4], "coords"):  # scipy 1.13 has them, and arrays of one dimension
    SPARSE += [sparse.coo_array(([1.0, 2.0], ([0, 0],)), shape=(3,))]


@pytest.mark.parametrize("matrix", cases(SPARSE))
def test_sparse_inline(matrix: Any) -> None:
    assert exactly_equal(round_trip(matrix), matrix)


REFUSED = [
    (object(), r"^metrics: a value of type object cannot be stored exactly; use plain values"),
    ({"a": [1, 2, len]}, r"^metrics\['a'\]\[2\]: a value of type builtin_function_or_method"),
    (collections.Counter("aab"), r"type collections.Counter cannot be stored exactly; use dict\(value\)"),
    (type("Text", (str,), {})("x"), r"use str\(value\)"),
    (type("Whole", (int,), {})(3), r"use int\(value\)"),
    (np.array([1, None]), r"dtype is object"),
    (np.zeros(2, dtype=[("a", "O")]), r"dtype is object"),
    (np.rec.array([(1,)], dtype=[("a", "i4")]), r"numpy\.asarray\(value\)"),
    (np.ma.array([None]), r"dtype is object"),
    (Frozen([Model]), r"^metrics\.x\[0\]: a value of type type"),
    (Listing(), r"built-in type"),
    (iter([1]), r"use list\(value\)"),
    (datetime(2026, 1, 1, tzinfo=type("Zone", (timezone.__base__,), {})()), r"zoneinfo\.ZoneInfo"),
    (pd.Series(pd.arrays.SparseArray([1])), r"dtype Sparse"),
    (Opaque("function", "os:system", {}), r"cannot be stored"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_has_no_exact_form_is_refused_by_name_type_and_remedy(value: Any, message: str) -> None:
    with pytest.raises(UnstorableError, match=message):
        encode(value, name="metrics")
    assert not is_storable(value)


def test_attributes_beyond_the_fields_are_refused() -> None:
    model = Model(1)
    assert model.double == 4  # a cached property is no state
    assert round_trip(model) == model
    model.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(UnstorableError, match="'extra' is no field"):
        encode(model)
    del model.extra, model.depth  # type: ignore[attr-defined]
    with pytest.raises(UnstorableError, match="'depth' is not set"):
        encode(model)


def test_recursion_and_depth_are_refused() -> None:
    loop: list[Any] = [1]
    loop.append({"x": loop})
    with pytest.raises(UnstorableError, match=r"\[1\]\['x'\]: .* contains itself"):
        encode(loop)
    same = [1]
    assert round_trip([same, same]) == [same, same]
    deep: Any = 1
    for _ in range(tagged.MAX_DEPTH):
        deep = (deep,)
    assert round_trip(deep) == deep
    with pytest.raises(UnstorableError, match="nested deeper than 100 levels"):
        encode([deep])
    nest: Any = 1
    for _ in range(tagged.MAX_DEPTH):
        nest = Frozen(nest)
    assert exactly_equal(round_trip(nest), nest)


def test_a_stack_that_is_nearly_full_is_refused_too() -> None:
    deep: Any = 1
    for _ in range(tagged.MAX_DEPTH):
        deep = [deep]

    def dive(left: int) -> None:
        if left:
            dive(left - 1)
        else:
            encode(deep)

    def climb() -> None:
        for used in range(0, sys.getrecursionlimit(), 50):
            dive(used)

    with pytest.raises(UnstorableError, match="nested too deeply"):
        climb()


def test_messages_survive_keys_without_repr() -> None:
    with pytest.raises(UnstorableError, match=r"^value\[<int>\]: a value of type object"):
        encode({10**5000: object()})


def test_torch_is_refused_with_a_way_out() -> None:
    tensor = type("Tensor", (), {"__module__": "torch"})()
    with pytest.raises(UnstorableError, match=r"torch\.Tensor .*value\.item\(\)"):
        encode(tensor)


def test_dataclasses_are_rebuilt_without_their_code() -> None:
    model = Model(1, 0.5, ["a"])
    again = round_trip(model)
    assert type(again) is Model
    assert again == model


def test_classes_that_are_not_loaded_become_opaque_and_stay_the_same_text() -> None:
    for value in (Color.BLUE, Bits.A | Bits.B, Frozen(1, (2,)), Pair(1, {2})):
        text = dumps(encode(value)).replace(__name__ + ":", "no.such.module:")
        opaque = decode(loads(text))
        assert type(opaque) is Opaque
        assert opaque.type.startswith("no.such.module:")
        assert dumps(encode(opaque)) == text
        assert "no.such.module" not in sys.modules
        assert opaque.type in repr(opaque)
        hash(opaque)
    assert decode(loads(dumps(encode(Frozen(1, 2))).replace(__name__, "gone"))).x == 1


@pytest.mark.parametrize(
    "tree",
    [
        {"$": "dataclass", "type": "subprocess:Popen", "fields": {"args": ["true"]}},
        {"$": "dataclass", "type": "os:system", "fields": {}},
        {"$": "enum", "type": "re:RegexFlag.__new__", "fields": {"name": "A", "value": 1}},
        {"$": "enum", "type": f"{__name__}:Color", "fields": {"name": "GREEN", "value": 1}},
        {"$": "enum", "type": f"{__name__}:Color", "fields": {"name": "RED", "value": 2}},
        {"$": "namedtuple", "type": f"{__name__}:Pair", "fields": {"a": 1}},
        {"$": "dataclass", "type": f"{__name__}:Frozen", "fields": {"x": 1}},
        {"$": "namedtuple", "type": "builtins:tuple", "fields": {}},
    ],
)
def test_classes_that_do_not_fit_become_opaque(tree: Any) -> None:
    value = decode(tree)
    assert type(value) is Opaque
    assert encode(value) == tree


def test_changed_classes_do_not_run_code_on_reading() -> None:
    ran = []

    class Guard:
        def __set__(self, instance: Any, value: Any) -> None:
            ran.append(value)

    tree = encode(Frozen(1, 2))
    trap = dataclasses.make_dataclass("Trap", ["x", "y"])
    trap.x = Guard()
    trap.__setattr__ = lambda self, name, value: ran.append(name)
    trap.__module__, trap.__qualname__ = __name__, "Trap"
    globals()["Trap"] = trap
    try:
        again = decode({**tree, "type": f"{__name__}:Trap"})  # type: ignore[dict-item]
    finally:
        del globals()["Trap"]
    assert type(again) is trap
    assert vars(again) == {"x": 1, "y": 2}
    assert ran == []


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
        st.fixed_dictionaries(
            {"$": st.sampled_from([*tagged._DECODERS, "eval"])},
            optional={
                "v": inner,
                "b64": st.sampled_from(["", "AAAA", "AAAAAAAAAAA="]),
                "dtype": st.sampled_from(["<f8", "O", "<U9999999", "|V0", "T", "<M8[us]", [["a", "O"]], 3])
                | inner,
                "shape": st.lists(st.integers(-1, 2**40), max_size=3),
                "type": st.sampled_from(["DataFrame", "csr_array", "MultiIndex", "os:system", "PosixPath"]),
                "fields": st.dictionaries(st.sampled_from(["name", "value", "x"]), inner),
                "file": st.sampled_from(["/etc/passwd", "../x", "data/x.npy", "a\0b"]),
                "parts": st.dictionaries(st.sampled_from(["data", "indices", "indptr"]), inner),
                "data": inner,
                "mask": inner,
                "fill": inner,
                "hard": inner,
                "index": inner,
                "columns": inner,
                "zone": st.sampled_from(["../../etc/passwd", "Europe", "Nowhere", ""]),
                "unit": st.sampled_from(["s", "Y"]),
                "format": st.sampled_from(["csv", "parquet", "pickle"]),
            },
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(json_trees)
def test_hostile_trees_raise_nothing_but_damaged(tmp_path_factory: Any, tree: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        value = decode(tree, folder=folder)
    except DamagedError:
        return
    with contextlib.suppress(UnstorableError):
        encode(value)


@quick
@given(values, st.data())
def test_damaged_trees_raise_nothing_but_damaged(value: Any, data: st.DataObject) -> None:
    text = dumps(encode(value))
    at = data.draw(st.integers(0, len(text)))
    with contextlib.suppress(DamagedError):
        decode(loads(text[:at] + data.draw(st.text(max_size=2)) + text[at + data.draw(st.integers(0, 3)) :]))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"$": "pickle", "v": ""}, r"no stored value of kind 'pickle'"),
        ({"$": "int", "v": "x"}, r"kind 'int' is malformed"),
        ({"$": "set", "v": [[1]]}, r"kind 'set' is malformed"),
        ({"$": "array", "dtype": "O", "shape": [1], "b64": "AAAAAAAAAAA="}, r"dtype object"),
        ({"$": "array", "dtype": "<f8", "shape": [10**9, 10**9], "b64": ""}, r"0 bytes for shape"),
        ({"$": "npy", "file": "data/x.npy", "dtype": "<f8", "shape": [1]}, r"read it with folder="),
    ],
)
def test_damage_is_told(tree: Any, message: str) -> None:
    with pytest.raises(DamagedError, match=message):
        decode(tree)


def test_text_is_strict_json() -> None:
    for text in ("NaN", "[Infinity]", "{", "", '"\\ud800', "1" * 5000, "[" * 100_000, b"\xff"):
        with pytest.raises(DamagedError, match="not JSON"):
            loads(text)
    assert dumps({"ü": [1, -0.0]}) == '{"ü":[1,-0.0]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(float("nan"))
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(DamagedError, match="nested too deeply"):
        decode(deep)


def test_canonical_tells_types_apart_and_forgets_the_order_of_dicts() -> None:
    different = [1, 1.0, True, "1", np.int64(1), np.float64(1), np.float32(1), Decimal(1), [1], (1,), {1}]
    different += [0.1, np.float64(0.1), -0.0, 0.0, None, {"a": 1, "b": 2}, OrderedDict(a=1), OrderedDict(b=1)]
    assert len({canonical(value) for value in different}) == len(different)
    assert canonical({"b": [{3, 1}], "a": 1}) == canonical({"a": 1, "b": [{1, 3}]})
    assert canonical({2: {"x": 1, "$": 2}, 1: 0}) == canonical({1: 0, 2: {"$": 2, "x": 1}})
    assert canonical({frozenset({1, "a"}): 1}) == canonical({frozenset({"a", 1}): 1})
    padded = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    dirty = np.frombuffer(bytes(range(16)) * 2, dtype=padded)
    clean = np.zeros(2, dtype=padded)
    clean["a"], clean["b"] = dirty["a"], dirty["b"]
    assert canonical(dirty) == canonical(clean)


SCRIPT = """
import datetime, decimal, sys
from expedition.values import canonical
words = "alpha beta gamma delta".split()
print(canonical([{w: set(words) for w in words}, frozenset({(w, 1.5) for w in words}), {1: 2, None: {b"x"}}]))
heavy = {"numpy", "pandas", "h5py", "scipy"} & set(sys.modules)
assert not heavy, heavy
import expedition.values.columns, expedition.values.files
expedition.values.encode({"a": [1.5, float("nan"), (1,)]})
heavy = {"numpy", "pandas", "h5py", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_canonical_does_not_depend_on_the_process_and_nothing_heavy_is_imported() -> None:
    texts = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(texts) == 1
    json.loads(texts.pop())


def test_sinks_get_what_is_large_under_its_slashed_key() -> None:
    got: list[tuple[str, str]] = []

    class Sink:
        def put_array(self, name: str, array: Any, kind: str) -> dict[str, Any] | None:
            got.append((name, kind))
            return None if name == "m/no" else {"$": "elsewhere", "at": len(got)}

    large = np.zeros(1000)
    value = {
        "small": np.zeros(3),
        "a": [large],
        "no": large,
        "f": pd.DataFrame({"x": [1]}),
        "s": sparse.eye_array(3),
        "m": np.ma.array(large),
    }
    tree: Any = encode(value, name="m", sink=Sink())
    assert got == [("m/a/0", "npy"), ("m/no", "npy"), ("m/f", "frame"), ("m/s", "sparse"), ("m/m", "masked")]
    assert tree["a"] == [{"$": "elsewhere", "at": 1}]
    assert tree["no"]["$"] == tree["small"]["$"] == "array"
    assert set(tree["small"]) == {"$", "dtype", "shape", "v"}
