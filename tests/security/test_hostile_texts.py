"""Texts that mean something to whoever reads them: YAML, JSON, expressions, terminals, spreadsheets and typesetters.

The loader of YAML is tried in tests/authoring/test_text.py, expressions in tests/authoring/test_expressions.py and
test_expression_properties.py, the formats of reports in tests/reporting/test_formats.py; here all of it goes through
the command line, and with what would take all memory or all time.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path

import pytest

from expedition import Archive
from expedition.errors import ExpeditionError
from tests.plugin.conftest import Lab
from tests.security.readers import _STEERING

PLAIN = """
@experiment
def exp_a(e, x: float = 1.0, name: str = "a"):
    pass
"""
BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))

YAML = {
    "a tag of Python": "extend: exp_a.py\nparameters: {x: !!python/object/apply:os.system ['touch owned']}",
    "another tag of Python": "extend: exp_a.py\nname: !!python/name:os.system",
    "a tag of one's own": "extend: exp_a.py\nname: !owned x",
    "a bomb of anchors": f"extend: exp_a.py\n{BOMB}",
    "an anchor that holds itself": "extend: exp_a.py\nparameters: &a {x: *a}",
    "brackets": "extend: exp_a.py\nparameters: {x: " + "[" * 50_000,
    "braces": "extend: exp_a.py\nparameters: " + "{a: " * 50_000,
    "indents": "extend: exp_a.py\nparameters:\n" + "".join(" " * i + "a:\n" for i in range(1, 900)),
    "a merge": "base: &b {x: 1}\nextend: exp_a.py\nparameters: {<<: *b}",
    "a huge number": "extend: exp_a.py\nparameters: {x: " + "9" * 5_000 + "}",
    "the same key twice": "extend: exp_a.py\nextend: exp_a.py",
    "no UTF-8": b"extend: exp_a.py\nname: \xff\xfe",
    "a NUL": "extend: exp_a.py\nname: 'a\0b'",
    "two documents": "extend: exp_a.py\n---\nextend: exp_a.py",
}


@pytest.mark.parametrize("what", YAML)
def test_hostile_configs_are_refused(lab: Lab, what: str) -> None:
    lab.experiment(PLAIN)
    text = YAML[what]
    (lab.path / "exp_b.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = time.process_time()
    lab.refused("exp_b.yml", workers=False)
    assert time.process_time() - before < 20  # a bomb would take hours, and all memory
    assert not (lab.path / "owned").exists()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 20_000, "!!python/name:os.system", "9" * 5_000, "*a", "&a [*a]", "1e999"]
)
def test_hostile_values_of_options(lab: Lab, text: str) -> None:
    lab.experiment(PLAIN)
    lab.refused("-P", f"x={text}", workers=False)


HOSTILE_EXPRESSIONS = [
    "__import__('os').system('touch owned')",
    "().__class__.__bases__",
    "alpha.__class__",
    "(lambda: 1)()",
    "[x for x in (1,)]",
    "open('owned', 'w')",
    "9 ** 9 ** 9 ** 9 > 1",
    "'x' * 10 ** 12 == alpha",
    "(" * 5_000 + "1" + ")" * 5_000,
    "not " * 20_000 + "alpha",
    "alpha" + " + alpha" * 20_000 + " > 1",
    "alpha == '" + "x" * 200_000,
    "f'{alpha.__class__}' == 'x'",
    "alpha := 1",
    "print('x')",
    "exec('x')",
    "name.format(alpha)",
    "9" * 5_000 + " > alpha",
    "alpha > 1\0",
    "yield",
    "await x",
    "*alpha",
]


@pytest.mark.parametrize("text", HOSTILE_EXPRESSIONS, ids=range(len(HOSTILE_EXPRESSIONS)))
def test_hostile_expressions_are_refused_and_never_run(small: Path, lab: Lab, text: str) -> None:
    before = time.process_time()
    with contextlib.suppress(ExpeditionError):  # what is arithmetic, and no more, may match nothing
        assert list(Archive(small).rows(text)) == []
    lab.experiment(PLAIN)
    for option in ("--where", "--archive-select"):
        if "\0" not in text and len(text) < 100_000:
            words = (
                ("--experiments", ".", option, text)
                if option == "--where"
                else (option, text, "--archive-list")
            )
            lab.pytest(*words, *(() if option == "--where" else ("--archive", small))).omits("Traceback")
    assert time.process_time() - before < 30
    assert not (lab.path / "owned").exists()


TEXTS = {
    "terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b5m\r\b\x7f",
    "direction": "\u202eevil\u2066",
    "lines": "one\ntwo\r\nthree\u2028four",
    "formula": '=HYPERLINK("http://x","y")',
    "command": "@SUM(1+1)*cmd|' /C calc'!A0",
    "html": "<img src=x onerror=alert(1)>&amp;<script>alert(1)</script>",
    "markdown": "| [x](javascript:alert(1)) `y` **z** |",
    "latex": "\\input{/etc/passwd}$x$ #1 %comment ^^41 {~}",
    "zero": "a\u200bb\ufeff",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose runs say hostile things in every place that a report shows."""
    from tests.durability.laboratory import Laboratory

    project = Laboratory(tmp_path_factory.mktemp("odd") / "lab")
    project.write(
        "exp_a.py",
        f"""
from expedition import experiment
TEXTS = {TEXTS!r}

@experiment.parametrize("what", list(TEXTS))
def exp_a(e, what: str, text: str = "x"):
    text = TEXTS[what]
    e["text"] = text
    e["group/" + text.replace("/", "_")] = 1
    e.tag(text) if text.split() == [text] else None
    e.note(text)
    e.annotate("text", text, unit=text)
    e.track("loss/" + text.replace("/", "_"), 1.0)
    e.derived("derived", text)
    print(text)
    e.log(text)
    raise ValueError(text)
""",
    )
    assert project.run().code == 1
    return project.path / "results"


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "latex"])
@pytest.mark.parametrize("verb", ["list", "tail", "overview", "scan", "show"])
def test_values_do_nothing_to_whoever_reads_a_report(odd: Path, lab: Lab, verb: str, form: str) -> None:
    words = {
        "list": ("--archive-list", "--archive-columns", "id,status,error,text,data.text,tags"),
        "tail": ("--archive-tail",),
        "overview": ("--archive-overview",),
        "scan": ("--archive-scan", "data.text"),
        "show": ("--archive-show", str(next(odd.glob("exp_a/*/0000-*")))),
    }[verb]
    if verb == "show" and form in ("csv", "latex"):
        form = "table"
    done = lab.pytest(*words, "--archive", odd, "--archive-format", form).exits(0)
    if form != "csv":  # which is for programs, and exact, unless it is printed to a terminal
        found = _STEERING.search(done.text)
        assert found is None, repr(done.text[max(0, found.start() - 60) : found.end() + 60])
    if form == "csv":
        for cell in re.findall(r'(?:^|,)"?([=+@-][^,\n]*)', done.out, re.MULTILINE):
            float(cell.strip('"'))  # a number may begin with a sign, and nothing else may
    if form == "json":
        json.loads(done.out[done.out.index("[") if done.out.lstrip()[0] != "{" else done.out.index("{") :])
    if form == "latex":
        assert "\\input{" not in done.out
    if form == "markdown":
        assert not re.search(r"(?<!\\)<(script|img)", done.out)  # a backslash makes it text


def test_html_of_notebooks_is_escaped(odd: Path) -> None:
    from expedition import Trajectory

    with Trajectory.open(next(odd.glob("exp_a/*"))) as trajectory:
        html = trajectory._repr_html_()
        for name in trajectory.results:
            node = trajectory.results[name]
            html += node._repr_html_() if hasattr(node, "_repr_html_") else ""
    assert "<script" not in html
    assert "<img" not in html


def test_what_runs_say_does_not_steer_the_terminal_while_they_run(lab: Lab) -> None:
    lab.experiment(
        f"""
        @experiment.parametrize("what", {[TEXTS["terminal"], TEXTS["direction"]]!r})
        def exp_a(e, what: str):
            e["x"] = what
            e.tag("t" + what.strip().replace(" ", ""))
            e.skip(what) if "evil" in what else e.fail(what)
        """
    )
    done = lab.run().exits(1)
    ours = (
        done.out.partition("= FAILURES =")[0]
        + done.out.partition("- exp_a -")[2].partition("= short test")[0]
    )
    assert "2/2 runs" in ours
    assert "failed" in ours
    found = _STEERING.search(ours)  # the other parts are pytest's own, which shows errors as they are
    assert found is None, repr(ours[max(0, found.start() - 60) : found.end() + 60])
