"""Validation of experiment files and configs: it is collection, file by file."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from expedition.authoring import config
from expedition.cli import main as cli
from expedition.cli.experiment_commands import SCHEMA as SCHEMA_FILE
from tests.thoroughness import examples

BASE = """
    A: int = 1
    B: float = 1e-5
    C: str = "yes"
    D: int | None = None
    L: list[int] = [1, 2]
    M: dict[str, float] = {"x": 1.0}

    @experiment
    def exp_base(e, alpha: float = 0.1, flag: bool = True, anything="a: b"):
        e.track("x", alpha)
    """

SCHEMA = json.loads(SCHEMA_FILE.read_bytes())
NUMBERS = itertools.count()
BRIEFLY = settings(
    max_examples=examples(4),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
)


def conforms(document: object) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def validate(lab, *files, options=()):
    given = [argument for file in files for argument in ("--experiments", file)]
    return lab.pytest("--experiment-validate", *given, *options)


def agree(lab, *files: str) -> list[str]:
    """Return the valid files: `validate`, of all at once, and collection of each must say the same.

    Neither leaves anything behind.
    """
    before = lab.files()
    validated = validate(lab, *files)
    report = {}
    for line in validated.out.splitlines():
        if line[:1] in "✓✗":
            name, _, rest = line[2:].partition(":")
            report[name] = (line[0], rest, [])
        elif name in report:
            report[name][2].append(line.strip())
    valid = []
    for file in files:
        collected = lab.run("--collect-only", path=file)
        mark, _, findings = report[file]
        assert mark == ("✗" if collected.code else "✓"), collected.text + validated.text
        for line in collected.errors():
            assert line.removeprefix("ERROR: ") in findings, validated.out
        if not collected.code:
            valid.append(file)
    assert lab.files() == before
    assert validated.code == (0 if len(valid) == len(files) else 4)
    assert validated.out.splitlines()[-1] == f"{len(valid)} of {len(files)} files are valid"
    return valid


# -- configs ----------------------------------------------------------------------------------------------------

RIGHT = {
    "A": [3, {"inherit": "* 2"}, "${UNSET_NAME:-3}"],
    "B": [2, 1e-7, {"inherit": ""}, {"inherit": None}],
    "C": ["no", "a: b", "", "ü\n", "$$", "${UNSET_NAME:-x}"],
    "D": [None, 3],
    "L": [[], [5]],
    "M": [{}, {"y": 2.5}],
    "alpha": [0.5, 3],
    "flag": [False],
    "anything": [None, "yes", {"a": [1]}, 1.5],
    "__DEBUG__": [True],
    "__PREFIX__": ["trial"],
    "__VERSION__": [3, "1.2"],
}
WRONG = {
    "A": ["3", 1.5, True, {"inherit": "* x"}, "${UNSET_NAME}", "${UNSET_NAME"],
    "L": [5, ["a"]],
    "a": [1],
    "__DEBUGS__": [True],
    "__DEBUG__": [1],
}
PARTS = {
    "grid": (
        [{"A": [1, 2]}, {"alpha": [0.1, 1], "flag": [True, False]}],
        [{"A": 3}, {}, {"A": []}, {"a": [1]}, [1]],
    ),
    "zipped": ([{"B": [1, 2], "D": [None, 1]}], [{"B": [1, 2], "D": [1]}, {"B": "12"}]),
    "points": ([[{"C": "x"}, {"C": "y"}]], [[], [1], {"C": ["x"]}]),
    "random": (
        [{"n": 2, "M": {"choice": [{}, {"z": 1.0}]}}, {"n": 3, "seed": 1, "M": {"choice": [{"z": 1}]}}],
        [
            {"M": {"choice": [{}]}},
            {"n": 0, "B": {"uniform": [0, 1]}},
            {"n": 2, "B": [1]},
            {"n": 2, "B": {"unifrom": [0, 1]}},
        ],
    ),
    "latin_hypercube": ([{"n": 2, "anything": {"normal": [0, 1]}}], [{"n": 2, "L": {"uniform": [0]}}]),
    "sobol": (
        [{"n": 2, "seed": 3, "anything": {"loguniform": [1e-3, 1]}}],
        [{"n": "2"}, {"n": 2, "B": {"integers": [0, 1.5]}}],
    ),
}
OTHERS = {
    "name": (["wide", "a-b"], ["a b", "", 3, None]),
    "namespace": (["a/b"], ["../x", "", None, 4]),
    "description": (["", "Wider."], [3, None]),
    "include": ([None, [], "mixin.py", ["mixin.py", "mixin.py"]], ["none.py", [3], 0, [""]]),
    "tags": (["one", ["a", "b"], None], [{"a": 1}, [1], False]),
    "replicates": ([1, 3, None], [0, "2", 1.5, True]),
    "paired": ([False], [None, 1, "yes"]),
    "sweeps": ([], [{}]),
}


@st.composite
def documents(draw) -> dict[str, object]:
    """A config, valid but for at most one thing in it."""
    broken = draw(st.sampled_from(["", "", "extend", "parameter", "sweep", "other"]))
    document: dict[str, object] = {"extend": draw(st.sampled_from(["exp_base.py", "exp_base.py::exp_base"]))}
    names = draw(st.lists(st.sampled_from(sorted(RIGHT)), unique=True, max_size=4))
    parameters = {name: draw(st.sampled_from(RIGHT[name])) for name in names}
    kinds = draw(st.lists(st.sampled_from(sorted(PARTS)), unique=True, max_size=2))
    sweep = {kind: draw(st.sampled_from(PARTS[kind][0])) for kind in kinds}
    for key in draw(st.lists(st.sampled_from(sorted(OTHERS)), unique=True, max_size=3)):
        if OTHERS[key][0]:
            document[key] = draw(st.sampled_from(OTHERS[key][0]))
    if broken == "extend":
        document["extend"] = draw(st.sampled_from([None, "", 3, "exp_bas.py", "exp_base.py::exp_bas", "."]))
    elif broken == "parameter":
        name = draw(st.sampled_from(sorted(WRONG)))
        parameters[name] = draw(st.sampled_from(WRONG[name]))
    elif broken == "sweep":
        kind = draw(st.sampled_from(sorted(PARTS)))
        sweep[kind] = draw(st.sampled_from(PARTS[kind][1]))
    elif broken == "other":
        key = draw(st.sampled_from(sorted(OTHERS)))
        document[key] = draw(st.sampled_from(OTHERS[key][1]))
    return {
        **document,
        **({"parameters": parameters} if parameters else {}),
        **({"sweep": sweep} if sweep else {}),
    }


@BRIEFLY
@given(batch=st.lists(documents(), min_size=5, max_size=8))
def test_validate_agrees_with_collection_and_the_schema_on_configs(lab, batch):
    os.environ.pop("UNSET_NAME", None)
    lab.experiment(BASE, "exp_base.py")
    lab.file("mixin.py", "X = 1\n")
    files = {lab.file(f"exp_{next(NUMBERS)}.yml", json.dumps(each)): each for each in batch}
    for name in agree(lab, *(file.name for file in files)):
        jsonschema.Draft202012Validator(SCHEMA).validate(files[lab.path / name])
    for file in files:
        file.unlink()


def test_validate_agrees_on_paths_with_variables_and_mixins(lab, monkeypatch):
    monkeypatch.setenv("WHICH", "base")
    monkeypatch.delenv("NEVER_SET", raising=False)
    lab.experiment(BASE, "exp_base.py")
    lab.file("deep/mixin.py", "X = 1\n")
    lab.file("deep/exp_good.yml", 'extend: "../exp_${WHICH}.py"\ninclude: mixin.py\n')
    lab.file("deep/exp_bad.yml", 'extend: "../exp_${NEVER_SET}.py"\n')
    lab.file("deep/exp_worse.yml", "extend: ../exp_base.py\ninclude: ../mixin.py\n")
    files = ["deep/exp_good.yml", "deep/exp_bad.yml", "deep/exp_worse.yml"]
    assert agree(lab, *files) == ["deep/exp_good.yml"]


@pytest.mark.parametrize(
    "text",
    ["extend: [", "extend: exp_base.py\nextend: exp_base.py", "[1, 2]", "", "a: *b", "extend: exp_base.py\n\tname: x"],
)  # fmt: skip
def test_validate_agrees_on_texts_that_are_no_config(lab, text):
    lab.experiment(BASE, "exp_base.py")
    lab.file("exp_text.yml", text)
    assert agree(lab, "exp_text.yml") == []


# -- experiment files -------------------------------------------------------------------------------------------

HEADS = [
    "",
    "A: int = 1\n",
    "A: int = 'x'\n",
    "import no_such_module_at_all\n",
    "A = (\n",
    "1 / 0\n",
    "import pytest\npytest.importorskip('nothing_like_it')\n",
]
MARKS = [
    "@experiment\n",
    "@experiment.parametrize('x', [0.1, 0.2])\n",
    "@experiment.parametrize('x', ['a'])\n",
    "@experiment.parametrize('y', [1])\n",
    "@experiment.replicate(0)\n",
    "@experiment.replicate(2)\n",
    "",
]
ARGUMENTS = [
    "e",
    "e, x: float = 0.5",
    "e, x: int = 0.5",
    "e, x",
    "e, nothing_known",
    "e, *x",
    "e, tmp_path, x=None",
]


@BRIEFLY
@given(
    batch=st.lists(
        st.tuples(
            st.sampled_from(["", "", "", *HEADS]),
            st.lists(st.sampled_from(MARKS), min_size=1, max_size=2),
            st.sampled_from(ARGUMENTS),
        ),
        min_size=5,
        max_size=8,
    )
)
def test_validate_agrees_with_collection_on_experiment_files(lab, batch):
    names = [f"exp_{next(NUMBERS)}" for _ in batch]
    for name, (head, marks, arguments) in zip(names, batch, strict=True):
        lab.experiment(f"{head}{''.join(marks)}def {name}({arguments}):\n    pass\n", f"{name}.py")
    agree(lab, *(f"{name}.py" for name in names))
    for name in names:
        (lab.path / f"{name}.py").unlink()


def test_the_properties_meet_valid_and_broken_files(lab):
    lab.experiment(BASE, "exp_base.py")
    lab.file("exp_good.yml", json.dumps({"extend": "exp_base.py", "parameters": {"A": 3, "M": {"y": 2.5}}}))
    lab.file("exp_bad.yml", json.dumps({"extend": "exp_base.py", "parameters": {"A": "3"}}))
    assert agree(lab, "exp_base.py", "exp_bad.yml", "exp_good.yml") == ["exp_base.py", "exp_good.yml"]


# -- the report -------------------------------------------------------------------------------------------------


def test_every_file_is_reported_with_place_and_remedy(lab):
    lab.experiment("@experiment.parametrize('x', [1, 2])\ndef exp_a(e, x: int = 1): ...\n")
    lab.file("exp_b.yml", "extend: exp_a.py\nparameters:\n  y: 3\n")
    lab.file("exp_c.py", "\nimport nothing_like_it\n")
    lab.file("exp_d.py", "")
    lab.file("notes.txt", "")
    names = ["exp_a.py", "exp_b.yml", "exp_c.py", "exp_d.py", "notes.txt"]
    found = validate(lab, *names).exits(4).out.splitlines()
    assert found == [
        "✓ exp_a.py: 1 experiment, 2 runs",
        "✗ exp_b.yml",
        "  exp_b.yml:3: exp_b: exp_b.yml gives a value to 'y', which is no parameter of exp_a.py; parameters: x",
        "✗ exp_c.py",
        "  exp_c.py:2: ModuleNotFoundError: No module named 'nothing_like_it'",
        "✗ exp_d.py",
        "  exp_d.py: no function is marked with @experiment; mark one",
        "✗ notes.txt",
        "  notes.txt: experiments are Python files (.py) and configs (.yml, .yaml); give the file that has the "
        "experiment",
        "1 of 5 files are valid",
    ]
    workers = validate(lab, *names, options=["-n2"]).exits(4)
    assert workers.out.splitlines() == found
    assert not (lab.path / "results").exists()


def test_a_folder_is_all_of_its_experiment_files(lab):
    lab.experiment("@experiment\ndef exp_a(e): ...\n", "deep/exp_a.py")
    lab.experiment("", "deep/exp_helpers.py")
    lab.file("empty/readme.md")
    assert validate(lab, "deep").exits(0).out.splitlines() == [
        "✓ deep/exp_a.py: 1 experiment, 1 run",
        "1 of 1 files are valid",
    ]
    validate(lab, "empty").exits(4).says("there is no experiment in files named exp_*.py")


def test_warnings_say_what_may_not_be_meant(lab, monkeypatch):
    monkeypatch.delenv("NEVER_SET", raising=False)
    lab.experiment(
        """
        import logging
        LOG = logging.getLogger("a")
        DATA: str = ""

        @experiment
        def exp_a(e):
            e.log(USED)
        """
    )
    lab.file("mixin.py", "USED = 1\nUNUSED = 2\n")
    lab.file(
        "exp_b.yml",
        'extend: exp_a.py\ninclude: mixin.py\nparameters:\n  DATA: "${NEVER_SET:-here}/raw"\n',
    )
    found = validate(lab, "exp_b.yml").exits(0)
    assert found.out.splitlines() == [
        "✓ exp_b.yml: 1 experiment, 1 run",
        "  ⚠ exp_a.py:4: LOG is no parameter: a Logger cannot be recorded exactly; write it in lowercase if it is "
        "to be none",
        "  ⚠ mixin.py:2: UNUSED of the mixin is used by no file of exp_b; remove it, or use it",
        "  ⚠ exp_b.yml:4: the variable NEVER_SET is not set; its default 'here' is used",
        "1 of 1 files are valid",
    ]
    validate(lab, "exp_b.yml", options=["--experiment-warnings-as-errors"]).exits(4).says(
        "✗ exp_b.yml", "0 of 1 files are valid"
    )
    monkeypatch.setenv("NEVER_SET", "there")
    validate(lab, "exp_b.yml").omits("NEVER_SET")


def test_options_are_checked_with_the_files(lab):
    lab.experiment("@experiment\ndef exp_a(e, x: int = 1): ...\n")
    validate(lab, "exp_a.py", options=["-P", "x=2"]).exits(0)
    wrong = validate(lab, "exp_a.py", options=["-P", "z=2"]).exits(4)
    wrong.says("✗ -P z: exp_a has no parameter 'z'")
    lab.pytest("--experiment-validate").exits(4).says("--experiment-validate needs files")
    validate(lab, "exp_z.py").exits(4).says("there is no such file")


@pytest.mark.parametrize(("encoding", "marks"), [("ascii", "ok error"), ("utf-8", "✓ ✗")])
def test_marks_are_such_as_the_output_can_show(lab, encoding, marks):
    lab.experiment("@experiment\ndef exp_a(e): ...\n")
    lab.file("exp_ü.yml", "extend: exp_a.py\nname: a b\n")
    done = subprocess.run(
        [sys.executable, "-m", "expedition.cli.main", "validate", "exp_a.py", "exp_ü.yml"],
        cwd=lab.path,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 4, done.stderr
    out = done.stdout.decode(encoding).splitlines()
    assert [out[0].split()[0], out[1].split()[0]] == marks.split()
    assert out[-1] == "1 of 2 files are valid"


# -- the schema -------------------------------------------------------------------------------------------------


def test_the_schema_has_every_key_with_a_description(capsys):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert tuple(sorted(SCHEMA["properties"])) == tuple(sorted(config.KEYS))
    assert all(about["description"] for about in SCHEMA["properties"].values())
    assert set(SCHEMA["properties"]["parameters"]["properties"]) == set(config.SPECIAL)
    assert set(SCHEMA["properties"]["sweep"]["properties"]) == set(config._DESIGNS)
    assert set(SCHEMA["$defs"]["distribution"]["properties"]) == set(config._DISTRIBUTIONS)
    assert cli.main(["validate", "--schema"]) == 0
    assert Path(capsys.readouterr().out.strip()) == SCHEMA_FILE


@pytest.mark.parametrize(
    "change",
    [
        {"extends": "exp_base.py"},
        {"extend": None},
        {"extend": " "},
        {"name": 3},
        {"tags": [1]},
        {"parameters": []},
        {"parameters": {"__DEBUGS__": True}},
        {"parameters": {"__DEBUG__": 1}},
        {"parameters": {"A": {"inherit": "two"}}},
        {"sweep": {}},
        {"sweep": {"gird": {"A": [1]}}},
        {"sweep": {"grid": {"A": 1}}},
        {"sweep": {"grid": {"A": []}}},
        {"sweep": {"points": {"A": 1}}},
        {"sweep": {"random": {"A": {"uniform": [0, 1]}}}},
        {"sweep": {"random": {"n": 2, "A": {"uniform": [0]}}}},
        {"sweep": {"random": {"n": 2, "A": {"uniform": [0, 1], "normal": [0, 1]}}}},
        {"sweep": {"random": {"n": 2, "A": [1, 2]}}},
        {"replicates": 0},
        {"replicates": "2"},
        {"paired": True},
    ],
    ids=str,
)
def test_the_schema_refuses_what_collection_refuses(lab, change):
    document = {"extend": "exp_base.py", **change}
    lab.experiment(BASE, "exp_base.py")
    lab.file("exp_bad.yml", json.dumps(document))
    assert agree(lab, "exp_bad.yml") == []
    assert not conforms(document)
    assert conforms({"extend": "exp_base.py"})
