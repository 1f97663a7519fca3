"""The examples of authoring do what they say: checked by other ways to compute it, and by their length."""

from __future__ import annotations

import ast
import json
import math
import re
import shutil
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, RunRecord, Trajectory
from tests.processes import python

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
WORDS = (EXAMPLES / "authoring" / "vocabulary.txt").read_text(encoding="utf-8").split()
TEXT = re.compile(r"\d\d_random\.txt")

# Lines and characters of code in the examples of PyComex 0.29.0 that have the same subject, as `code_of` counts
# them: without comments, docstrings, blank lines and the spaces and line ends after the code.
ORIGINALS = [
    ("01_quickstart.py", ["exp_quickstart.py"], 17, 566),
    ("02_basic.py", ["exp_texts.py"], 29, 1043),
    ("03_analysing.py", ["exp_texts.py", "exp_analysed_texts.py"], 41, 1580),
    ("04_inheritance.py", ["exp_long_texts.py"], 29, 849),
    ("05_testing_mode.py", ["exp_cloud.py"], 36, 978),
    ("06_run_experiment.py", ["run_texts.py"], 8, 281),
    ("07_meta_experiment.py", ["exp_lengths.py"], 21, 824),
    ("09_experiment_config.yml", ["exp_few_words.yml"], 4, 61),
    ("10_caching.py", ["exp_factorisation.py"], 38, 1308),
    ("11_experiment_mixin.py", ["exp_noted_texts.py"], 15, 462),
    ("11_experiment_mixin_mixin.py", ["mixins/noting.py"], 8, 288),
    ("12_experiment_mixin.yml", ["exp_noted_config.yml"], 12, 393),
]


@pytest.fixture(scope="module")
def laboratory(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder with the project `project` that has the examples; those of authoring were run from `elsewhere`."""
    return made_once("authoring", run_examples)


def run_examples(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    shutil.copytree(
        EXAMPLES, folder / "project" / "examples", ignore=shutil.ignore_patterns("__pycache__", "results")
    )
    (folder / "project" / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    output = python(
        folder / "elsewhere", "-m", "pytest", "--experiments", "../project/examples/authoring", "-n", "2"
    )
    assert "14 passed" in output
    assert "warning" not in output
    assert not any((folder / "elsewhere").iterdir())


@pytest.fixture
def project(laboratory: Path) -> Path:
    return laboratory / "project"


@pytest.fixture
def archive(project: Path) -> Archive:
    return Archive(project / "results")


def records(archive: Archive, namespace: str) -> list[RunRecord]:
    found = [record for record in archive.runs() if record.namespace == namespace]
    assert {record.status for record in found} == {"done"}
    return sorted(found, key=lambda record: record.index)


def one(archive: Archive, namespace: str) -> RunRecord:
    (record,) = records(archive, namespace)
    return record


def texts(record: RunRecord) -> list[str]:
    """The texts that a run made, each with its number; checks what holds for any of them."""
    found = [
        record.artifacts[name].read_text(encoding="utf-8")
        for name in sorted(record.artifacts)
        if TEXT.fullmatch(name)
    ]
    assert len(found) == record.params["REPEATS"]
    assert record.series["length"].value.tolist() == [len(text) for text in found]
    for number, text in enumerate(found):
        assert len(text.split()) == record.params["NUM_WORDS"]
        assert max(map(len, text.splitlines())) <= 80
        assert f"text {number} has {len(text)} characters" in record.log
    return found


def words_of(record: RunRecord) -> set[str]:
    return {word for text in texts(record) for word in text.split()}


def said(record: RunRecord) -> list[str]:
    """The messages of a log, without their times."""
    return [line.partition("Z ")[2] or line for line in record.log.splitlines()]


def test_quickstart(project: Path, archive: Archive, tmp_path: Path) -> None:
    record = one(archive, "exp_quickstart")
    assert (record.sweep, record.data) == ("debug", {"strings": {"hello_world": "hello world!"}})
    assert record.artifacts["hello_world.txt"].read_text() == "hello world!"
    assert said(record) == ["some message", "analysis show (exp_quickstart.py)", "hello world! world!"]
    copy = shutil.copytree(project, tmp_path / "copy")
    python(copy, "examples/authoring/exp_quickstart.py", "--WORLD", "moon")  # takes the place of the last
    record = one(Archive(copy / "results"), "exp_quickstart")
    assert record.artifacts["hello_world.txt"].read_text() == "hello moon"


def test_texts(archive: Archive) -> None:
    record = one(archive, "exp_texts")
    assert record.data == {"words": 50}
    rng = np.random.default_rng(record.seed)
    assert [text.split() for text in texts(record)] == [rng.choice(WORDS, 50).tolist() for _ in range(10)]
    assert said(record)[:3] == ["parameters", "  NUM_WORDS (int) = 50", "  REPEATS (int) = 10"]
    assert record.meta["parameters"]["NUM_WORDS"]["description"] == "words of a text"


def test_analysed_texts(archive: Archive, tmp_path: Path) -> None:
    record = one(archive, "exp_analysed_texts")
    lengths = [len(text) for text in texts(record)]
    expected = {
        "shortest": [lengths.index(min(lengths)), min(lengths)],
        "longest": [lengths.index(max(lengths)), max(lengths)],
        "mean": pytest.approx(sum(lengths) / 10),
    }
    assert json.loads((record.path / "analysis_results.json").read_text()) == expected
    copy = shutil.copytree(record.sweep_path, tmp_path / "copy")
    (copy / "analysis_results.json").unlink()
    assert "analysis compare (exp_analysed_texts.py)" in python(copy, "analysis.py")
    assert json.loads((copy / "analysis_results.json").read_text()) == expected


def test_long_texts(archive: Archive) -> None:
    record = one(archive, "exp_long_texts")
    assert record.params == {"NUM_WORDS": 500, "REPEATS": 10}
    assert record.data == {"words": 40, "message": "10 texts of 40 words"}
    assert words_of(record) < set(WORDS)
    assert len(words_of(record)) == 40
    log = said(record)
    own, base = (
        log.index(f"analysis {name}")
        for name in ("greet (exp_long_texts.py)", "compare (exp_analysed_texts.py)")
    )
    assert base < own
    assert log[own + 1] == "the child has 10 texts of 40 words"


@pytest.mark.parametrize("testing", [False, True])
def test_cloud(project: Path, archive: Archive, tmp_path: Path, testing: bool) -> None:
    from PIL import Image

    if testing:
        arguments = ["--testing", "--archive", str(tmp_path / "a")]
        python(project, "-m", "pytest", "--experiments", "examples/authoring/exp_cloud.py", *arguments)
        (record,) = Archive(tmp_path / "a").runs()
    else:
        record = one(archive, "exp_cloud")
    steps, points = (3, 3) if testing else (100, 1000)
    assert (record.testing, record.params) == (testing, {"NUM_STEPS": steps, "NUM_POINTS": points})
    rng = np.random.default_rng(record.seed)
    cloud = [rng.standard_normal((points, 2)) * [1, 2] + step for step in range(steps)]
    np.testing.assert_allclose(record.series["points"].value, cloud)
    np.testing.assert_allclose(record.series["centre"].value, np.mean(cloud, axis=1))
    assert record.data["spread"] == pytest.approx([math.sqrt(np.var(cloud[-1][:, i])) for i in (0, 1)])
    with Image.open(record.artifacts["cloud.png"]) as picture:
        picture.load()
        colours = {
            pixel for _, pixel in picture.convert("RGB").getcolors(picture.width * picture.height) or ()
        }
    assert len({colour for colour in colours if len(set(colour)) > 1}) > (2 if testing else 100)
    assert "plotting the results" in said(record)


def test_factorisation(project: Path, archive: Archive, tmp_path: Path) -> None:
    runs = records(archive, "exp_factorisation")
    matrix = np.random.default_rng(42).standard_normal((100, 100))
    squares = np.linalg.eigvalsh(matrix @ matrix.T)[::-1]
    for record in runs:
        # The nearest matrix of a rank misses the singular values beyond it (Eckart and Young).
        rank = record.params["rank"]
        assert record.data["error"] == pytest.approx(math.sqrt(sum(squares[rank:])), abs=1e-6)
    assert [record.params["rank"] for record in runs] == [1, 10, 50, 100]
    logs = "\n".join(record.log for record in runs)
    assert (logs.count("factors: computed"), logs.count("matrix: computed")) == (1, 1)
    copy = shutil.copytree(project, tmp_path / "copy")
    shutil.rmtree(copy / "results" / "exp_factorisation")
    python(copy, "-m", "pytest", "--experiments", "examples/authoring/exp_factorisation.py", "-k", "50")
    again = one(Archive(copy / "results"), "exp_factorisation")
    assert (again.params["rank"], again.data) == (50, runs[2].data)
    assert said(again) == ["factors: taken from the cache", "matrix: taken from the cache"]


def test_a_program_runs_an_experiment(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "examples", tmp_path / "examples")
    output = python(tmp_path, "examples/authoring/run_texts.py")
    (record,) = Archive(tmp_path / "results").runs()
    assert record.params == {"NUM_WORDS": 5, "REPEATS": 10}
    lengths = np.array([len(text) for text in texts(record)])
    assert output.splitlines()[-1] == f"done {lengths} {record.path}"


def test_an_experiment_runs_another(archive: Archive) -> None:
    record = one(archive, "exp_lengths")
    assert [child.params["NUM_WORDS"] for child in record.children] == [10, 100, 1000]
    total = {child.params["NUM_WORDS"]: sum(map(len, texts(child))) for child in record.children}
    assert record.data == {"metrics": {"length": {str(number): length for number, length in total.items()}}}
    assert {child.experiment for child in record.children} == {"exp_texts"}


def test_a_config(archive: Archive) -> None:
    record = one(archive, "exp_few_words")
    assert record.params == {"NUM_WORDS": 20, "REPEATS": 5}
    assert len(texts(record)) == 5


def test_mixins(archive: Archive) -> None:
    (alone,) = records(archive, "exp_noted_texts")
    assert (alone.experiment, alone.params) == ("noted_texts", {"NUM_WORDS": 20, "REPEATS": 3})
    assert said(alone)[0] == "mixin: the run begins"
    assert said(alone)[-2:] == ["mixin: the run ends", "own: all texts are there"]
    of_config = records(archive, "exp_noted_config")
    assert [record.params for record in of_config] == [{"NUM_WORDS": n, "REPEATS": 3} for n in (10, 75)]
    for record in of_config:
        assert len(texts(record)) == 3
        assert (said(record)[0], said(record)[-1]) == ("mixin: the run begins", "mixin: the run ends")
        assert record.meta["experiment"]["description"] == "The mixin in a config, over a sweep."
    with Trajectory.open(of_config[0].sweep_path) as trajectory:
        assert trajectory.par.NUM_WORDS.tolist() == [10, 75]


def test_all_examples_are_collected_together_and_nothing_else(laboratory: Path) -> None:
    output = python(
        laboratory / "elsewhere",
        "-m",
        "pytest",
        "--experiments",
        "../project/examples",
        "--collect-only",
        "-q",
    )
    files = {path.name for pattern in ("*.py", "*.yml") for path in EXAMPLES.rglob(f"exp_{pattern}")}
    assert set(re.findall(r"(\w+\.(?:py|yml))::", output)) == files


def code_of(path: Path) -> Iterator[str]:
    """The lines of code of a file, without comments, docstrings and blank lines."""
    lines = dict(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    if path.suffix == ".yml":
        lines = {number: line.partition("#")[0] for number, line in lines.items()}
    else:
        with tokenize.open(path) as stream:
            for token in tokenize.generate_tokens(stream.readline):
                if token.type == tokenize.COMMENT:
                    lines[token.start[0]] = lines[token.start[0]][: token.start[1]]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                for number in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1):
                    del lines[number]
    return (line.rstrip() for line in lines.values() if line.strip())


@pytest.mark.parametrize(("original", "files", "lines", "characters"), ORIGINALS)
def test_they_are_shorter_than_the_originals(
    original: str, files: list[str], lines: int, characters: int
) -> None:
    code = [line for file in files for line in code_of(EXAMPLES / "authoring" / file)]
    assert len(code) < lines, original
    assert sum(map(len, code)) < characters, original


def test_every_example_has_its_line_in_the_readme() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([^`]+)` \| [^|]+ \|$", text, re.MULTILINE)
    there = [
        path.relative_to(EXAMPLES).as_posix()
        for path in EXAMPLES.rglob("*.*")
        if path.suffix in (".py", ".yml", ".txt") and "results" not in path.parts
    ]
    assert sorted(named) == sorted(there)


def test_the_extra_has_the_libraries_of_the_examples() -> None:
    distributions = {"sklearn": "scikit-learn"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["examples"]]
    declared = {re.split(r"[<>=~!\[; ]", text)[0] for text in requirements} | {"expedition"}
    for path in EXAMPLES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        needed = {"pandas"} if re.search(r"to_pandas|commit_frame", text) else set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                needed |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                needed.add(node.module.partition(".")[0])
        needed = {distributions.get(name, name) for name in needed - sys.stdlib_module_names}
        assert needed <= declared, path.name
