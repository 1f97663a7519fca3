from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expedition.authoring.text import is_quoted, load_mapping_file, load_yaml, split_assignment
from expedition.errors import ExperimentError


def load(text: str) -> object:
    return load_yaml(text, source="conf.yml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("tRue", "tRue"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("-0x1F", "-0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e+3", -500.0),
        ("1.5", 1.5),
        (".inf", math.inf),
        ("+.Inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        (".", "."),
        ("e5", "e5"),
        ("2026-11-01", "2026-11-01"),
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
        ("=", "="),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 12", 12.0),
        ("[1, a, ~]", [1, "a", None]),
        ("{a: 1, 2: b}", {"a": 1, 2: "b"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("# nothing", None),
        ("x: ", {"x": None}),
    ],
)
def test_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    loaded = load(text)
    assert loaded == value
    assert type(loaded) is type(value)


def test_nan() -> None:
    for text in (".nan", ".NaN", ".NAN"):
        loaded = load(text)
        assert isinstance(loaded, float)
        assert math.isnan(loaded)


# YAML 1.2 contains JSON.
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)


@given(_json)
def test_json_reads_as_json_does(value: object) -> None:
    text = json.dumps(value)
    assert load(text) == json.loads(text)


@given(st.text(max_size=60))
@example("a: &a [*a]")
@example("\ud800")
def test_any_text_is_read_or_refused_with_the_source(text: str) -> None:
    message = "conf.yml"
    try:
        load(text)
    except ExperimentError as error:
        message = str(error)
    assert message.startswith("conf.yml")


def test_aliases_give_copies() -> None:
    loaded = load("a: &x [1]\nb: *x")
    assert isinstance(loaded, dict)
    loaded["a"].append(2)
    assert loaded["b"] == [1]


_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + inner] * 9)}]\n"
    for inner, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' is given twice"),
        ("1: a\ntrue: b", 2, "twice"),
        ("a: 1\n<<: {b: 2}", 2, "merge keys"),
        ("a: 1\nb: [1,\n", 3, "expected"),
        ("a: b: c", 1, "not allowed"),
        ("\n- !!python/object/apply:os.system [ls]", 2, "tag !!python/object"),
        ("!!python/name:os.system", 1, "tag !!python"),
        ("!!binary aGk=", 1, "tag !!binary"),
        ("!!timestamp 2026-01-01", 1, "tag !!timestamp"),
        ("!!set {a}", 1, "tag !!set"),
        ("!!omap [a: 1]", 1, "tag !!omap"),
        ("!!merge x", 1, "tag !!merge"),
        ("!mine 1", 1, "tag !mine"),
        ("!<int> 1", 1, "tag int"),
        ("!!int abc", 1, "no int"),
        ("!!bool yes", 1, "no bool"),
        ("!!str [1]", 1, "not allowed"),
        ("--- 1\n--- 2", 2, "another document"),
        ("a\nb\x00", 2, "special characters"),
        ("x: *y", 1, "alias"),
        ("a: &a [*a]", 1, "contains itself"),
        (_BOMB, 1, "aliases repeat"),
        ("[" * 100_000, 1, "too deeply"),
        ("{" * 100_000, 1, "too deeply"),
        ("- " * 100_000, 1, "too deeply"),
        ("- " * 150 + "1", 1, "nested more than 100 deep"),
        ("9" * 5_000, 1, "5,000 digits"),
        ('"\\ud800"', 1, "surrogate"),
        ("{[1]: 2}", 1, "cannot be a key"),
        ("a:\n\tb: 1", 2, "cannot start any token"),
    ],
)
def test_what_is_refused_names_source_and_line(text: str, line: int, words: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ExperimentError) as caught:
        load(text)
    assert time.perf_counter() - started < 1.0
    assert str(caught.value).startswith(f"conf.yml, line {line}: ")
    assert words in str(caught.value)


def test_a_huge_text_is_refused_unread() -> None:
    with pytest.raises(ExperimentError, match=r"conf\.yml: the text has 17,000,000 characters"):
        load("#" * 17_000_000)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("'3'", True),
        ('"a b"', True),
        (" 'a' ", True),
        ('"a" # comment', True),
        ("''", True),
        ("3", False),
        ("", False),
        ("'a", False),
        ("'a' 'b'", False),
        ("'a': 1", False),
        ("['a']", False),
        ("it's 'a'", False),
        ("'", False),
    ],
)
def test_is_quoted(text: str, quoted: bool) -> None:
    assert is_quoted(text) is quoted


def test_a_mapping_file(tmp_path) -> None:
    path = tmp_path / "größe.yml"
    path.write_bytes("\ufeffalpha: 1e-5\nname: é\n".encode())
    assert load_mapping_file(path) == {"alpha": 1e-5, "name": "é"}
    assert load_mapping_file(str(path)) == {"alpha": 1e-5, "name": "é"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty, not a mapping"),
        (b"# all commented out", "is empty, not a mapping"),
        (b"[1]", "holds a list, not a mapping"),
        (b"1: x", "the key 1 is a int"),
        (b"~: x", "the key None"),
        (b"a: \xff", "not UTF-8 text (byte 3)"),
        (b"a: 1\na: 2", "line 2"),
    ],
)
def test_a_bad_mapping_file_names_its_path(tmp_path, content: bytes, words: str) -> None:
    path = tmp_path / "p.yml"
    path.write_bytes(content)
    with pytest.raises(ExperimentError) as caught:
        load_mapping_file(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path) -> None:
    with pytest.raises(ExperimentError, match="no such file"):
        load_mapping_file(tmp_path / "nope.yml")
    with pytest.raises(ExperimentError, match="cannot be read"):
        load_mapping_file(tmp_path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alpha=0.1", (None, "alpha", "0.1")),
        ("exp_ridge:alpha=0.1", ("exp_ridge", "alpha", "0.1")),
        ("vision/exp-train.v2:LR=1", ("vision/exp-train.v2", "LR", "1")),
        ("URL=http://a?b=c", (None, "URL", "http://a?b=c")),
        ("x=", (None, "x", "")),
        ("x= 'a' ", (None, "x", " 'a' ")),
        (" x =1", (None, "x", "1")),
        ("__DEBUG__=true", (None, "__DEBUG__", "true")),
        ("größe=1", (None, "größe", "1")),
    ],
)
def test_split_assignment(text: str, parts: tuple[str | None, str, str]) -> None:
    assert split_assignment(text) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alpha", "no '='"),
        ("", "no '='"),
        ("alpha:0.1", "no '='"),
        ("=1", "''"),
        ("a b=1", "'a b'"),
        ("1a=1", "'1a'"),
        ("lambda=1", "'lambda'"),
        ("--alpha=1", "'--alpha'"),
        ("exp:=1", "''"),
        (":a=1", "experiment"),
        ("a b:c=1", "'a b'"),
    ],
)
def test_a_bad_assignment_is_refused(text: str, words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        split_assignment(text)
    assert repr(text) in str(caught.value)
    assert words in str(caught.value)


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), st.text(max_size=20))
def test_a_value_is_kept_as_it_is(name: str, raw: str) -> None:
    import keyword

    if not keyword.iskeyword(name):
        assert split_assignment(f"{name}={raw}") == (None, name, raw)
        assert split_assignment(f"exp_a:{name}={raw}") == ("exp_a", name, raw)


def test_importing_is_light() -> None:
    code = (
        "import sys, expedition.authoring.text, expedition.authoring.expressions, expedition.sweeps\n"
        "assert {'numpy', 'scipy', 'yaml', 'pytest'}.isdisjoint(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_number_too_large_for_a_float_is_no_infinity() -> None:
    with pytest.raises(ExperimentError, match=r"too large for a float; infinity is written \.inf"):
        load_yaml("1e400", source="-P")
    assert load_yaml("-.inf", source="-P") == float("-inf")
