"""One table in five formats: what fits into a terminal, and what programs and documents get."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import ExperimentError
from expedition.reporting.cells import Bytes, Done, Rate, Seconds, Share, Stored, When, WithN
from expedition.reporting.formats import FORMATS, Table, render_table, render_tables
from expedition.reporting.pages import Facts, Grid, Page, render_page
from expedition.reporting.printing import print_text
from expedition.trajectory.statistics import mean_interval

WHEN = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
WIDE = [
    {
        "alpha": 0.5,
        "comment": "a text that goes on for very long, longer than others",
        "loss": 12.25,
        "run": "k3f9/1",
    },
    {"alpha": 10.25, "comment": "short", "loss": None, "run": "k3f9/10"},
]


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes, computed by itself."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


class TestWidth:
    def test_nothing_is_cut_without_a_width(self) -> None:
        assert WIDE[0]["comment"] in render_table(WIDE, list(WIDE[0])).splitlines()[2]

    def test_texts_are_cut_first(self) -> None:
        lines = render_table(WIDE, list(WIDE[0]), width=50).splitlines()
        assert all(len(line) <= 50 for line in lines)
        assert "12.25" in lines[2]
        assert "k3f9/1" in lines[2]
        assert "…" in lines[2]
        assert len(lines) == 4

    def test_then_columns_are_left_out_and_named(self) -> None:
        lines = render_table(WIDE, list(WIDE[0]), width=24, drop=["loss"]).splitlines()
        assert lines[0].split() == ["alpha", "comment"]
        assert lines[-1] == "no room for: loss, run"
        assert lines[3].split() == ["10.25", "short"]

    def test_a_column_that_must_stay_whole_is_never_cut(self) -> None:
        rows = [{"run": "a-namespace/of-a-debug-run/0000-alpha=1", "text": "x" * 50}]
        assert rows[0]["run"] in render_table(rows, ["text", "run"], width=60)

    def test_one_column_is_left_however_narrow(self) -> None:
        lines = render_table(WIDE, list(WIDE[0]), width=3).splitlines()
        assert all(len(line) <= 3 for line in lines[:4])
        assert "no room for" in "\n".join(lines)

    def test_wide_characters_are_two_columns(self) -> None:
        rows = [{"name": "日本語", "n": 1}, {"name": "e\u0301", "n": 2}, {"name": "abc", "n": 3}]
        lines = render_table(rows, ["name", "n"]).splitlines()
        assert {columns_of(line) for line in lines} == {9}

    @given(
        rows=st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "a": st.text(max_size=40),
                    "b": st.floats() | st.integers(),
                    "long name of c": st.text("日a\u0301 -", max_size=60),
                    "d": st.none() | st.booleans() | st.integers(),
                },
            ),
            max_size=5,
        ),
        width=st.integers(30, 120),
    )
    def test_no_line_is_wider_than_the_terminal(self, rows: list[dict[str, object]], width: int) -> None:
        names = ["a", "b", "long name of c", "d"]
        text = render_table(rows, names, width=width)
        assert all(columns_of(line) <= width for line in text.split("\n"))
        assert len(text.split("\n")) >= 2 + len(rows)


class TestTable:
    def test_decimal_points_stand_below_each_other(self) -> None:
        rows = [{"x": 1.25}, {"x": 100}, {"x": 1e-7}, {"x": math.nan}, {"x": None}, {"x": -0.5}]
        assert render_table(rows, ["x"]).splitlines()[2:] == [
            *("  1.25", "100", "  1e-7", "   nan", "     –", " -0.5"),
        ]

    def test_titles_notes_and_a_gap(self) -> None:
        table = Table(["a"], [{"a": 1}, {"a": 2}], title="above", notes=["below"], gap_at=1)
        assert render_tables([table, table]).split("\n\n") == ["above\na\n-\n1\n…\n2\nbelow"] * 2

    def test_units(self) -> None:
        row = {"s": Seconds(0.25), "b": Bytes(1536), "r": Rate(1, 2), "none": Rate(0, 0), "n": Done(1, 2)}
        assert render_table([row], list(row)).splitlines()[2] == "250 ms  1.5 KiB  1/2 (50 %)     –  1/2"

    @pytest.mark.parametrize(
        ("part", "whole", "percent"), [(999, 1000, 99), (1, 1000, 1), (5, 5, 100), (0, 5, 0)]
    )
    def test_only_all_are_all(self, part: int, whole: int, percent: int) -> None:
        assert f"({percent} %)" in render_table([{"r": Rate(part, whole)}], ["r"])

    def test_control_characters_do_nothing(self) -> None:
        assert "\x1b" not in render_table([{"a": "\x1b[31mred\r\n"}], ["a"])


class TestJson:
    def test_plain_where_json_has_it(self) -> None:
        row = {
            "number": np.float64(0.5),
            "stored": Stored({"$": "np", "dtype": "<i4", "v": 3}),
            "time": When(WHEN),
            "seconds": Seconds(1.5),
            "bytes": Bytes(3),
            "nan": math.nan,
            "list": [1, None, "x"],
            "rate": Rate(1, 4),
        }
        (found,) = json.loads(render_table([row], [*row, "absent"], format="json"))
        assert found["stored"] == 3
        assert type(found["stored"]) is int
        assert found["time"] == "2026-11-22T14:30:00Z"
        assert (found["seconds"], found["bytes"], found["list"]) == (1.5, 3, [1, None, "x"])
        assert found["nan"] == {"$": "float", "v": "nan"}
        assert found["rate"] == {"part": 1, "whole": 4, "rate": 0.25}
        assert "absent" not in found


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


class TestCsv:
    def test_cells(self) -> None:
        row = {
            "float": 0.1 + 0.2,
            "bool": np.True_,
            "int": np.int64(7),
            "none": None,
            "text": 'a "quoted", text\nwith lines',
            "time": When(WHEN),
            "seconds": Seconds(1.5),
            "list": [1, "ü"],
            "stored": Stored({"$": "datetime", "v": "2026-11-22T14:30:00"}),
            "big": Stored({"$": "int", "v": "10000000000000000000000"}),
            "path": Stored({"$": "path", "type": "PosixPath", "v": "a/b"}),
        }
        text = render_table([row], [*row, "absent"], format="csv")
        assert text.startswith("float,bool,int")
        assert text.count("\n") == 2  # one is in a text; the last line end is that of whoever prints
        assert "\r" not in text
        header, cells = read_csv(text)
        assert header == [*row, "absent"]
        assert float(cells[0]) == 0.1 + 0.2
        assert cells[1:] == [
            *(
                "True",
                "7",
                "",
                'a "quoted", text\nwith lines',
                "2026-11-22T14:30:00Z",
                "1.5",
                '[1, "ü"]',
            ),
            *("2026-11-22T14:30:00", "10000000000000000000000", "a/b", ""),
        ]

    def test_formulas_are_harmless_and_numbers_stay(self) -> None:
        texts = ["=1+1", "+cmd|'/c calc'!A0", "@SUM(1)", "\t=1", "-x", "-1.5", "+3", "plain", "a=b"]
        cells = [row[0] for row in read_csv(render_table([{"t": t} for t in texts], ["t"], format="csv"))[1:]]
        assert cells == [
            "'=1+1",
            "'+cmd|'/c calc'!A0",
            "'@SUM(1)",
            "'\t=1",
            "'-x",
            "-1.5",
            "+3",
            "plain",
            "a=b",
        ]

    def test_a_row_of_one_empty_cell_is_a_row(self) -> None:
        assert len(read_csv(render_table([{}, {}], ["a"], format="csv"))) == 3

    @given(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
                lambda t: t[:1] not in "=+-@\t\r\n"
            )
        )
    )
    def test_texts_come_back(self, texts: list[str]) -> None:
        text = render_table([{"a": t, "b": 1} for t in texts], ["a", "b"], format="csv")
        assert [row[0] for row in read_csv(text)[1:]] == texts

    def test_other_types(self) -> None:
        from fractions import Fraction

        row = {
            "fraction": Fraction(1, 3),
            "complex": 1j,
            "path": PurePosixPath("a/b"),
            "interval": mean_interval([1, 3]),
        }
        cells = read_csv(render_table([row], list(row), format="csv"))[1]
        assert cells[3] == "2 ± 13"
        assert cells[2] == "a/b"


class TestMarkdown:
    def test_signs_are_escaped_and_rows_stay_rows(self) -> None:
        rows = [{"a|b": "x|y_z *bold* `code` <tag> [link]", "n": 1.5}, {"a|b": "line\nend", "n": None}]
        lines = render_table(rows, ["a|b", "n"], format="markdown").splitlines()
        assert len(lines) == 4
        assert lines[0] == r"| a\|b | n |"
        assert lines[1] == "| --- | --: |"
        assert lines[2] == r"| x\|y\_z \*bold\* \`code\` \<tag\> \[link\] | 1.5 |"
        assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)

    def test_titles_and_notes_are_paragraphs(self) -> None:
        text = render_tables([Table(["a"], [{"a": 1}], title="exp_a", notes=["note"])], format="markdown")
        assert text == "### exp\\_a\n\n| a |\n| --: |\n| 1 |\n\nnote"


def check_latex(text: str) -> list[list[str]]:
    """Read a tabular by the rules of TeX, strictly; return the cells of its rows."""
    depth = 0
    for token in re.finditer(r"\\(?:[a-zA-Z]+|.)|[{}]", text):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        assert depth >= 0, f"a brace is closed that is not open at {token.start()}"
    assert depth == 0
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(begun) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    body = re.search(r"\\begin\{tabular\}\{([lr]+)\}\n\\toprule\n(.*)\\bottomrule", text, re.S)
    assert body is not None
    rows = []
    for line in body[2].strip().splitlines():
        if line == r"\midrule":
            continue
        assert line.endswith(r" \\")
        bare = re.sub(r"\\(?:[a-zA-Z]+|.)", "", line[:-3])
        assert not re.search(r"[#%_^~<>|\"]", re.sub(r"\$[^$]*\$", "", bare)), line
        assert bare.count("$") % 2 == 0
        cells = re.split(r"(?<!\\)&", line[:-3])
        assert len(cells) == len(body[1])
        rows.append([cell.strip() for cell in cells])
    return rows


class TestLatex:
    def test_numbers_are_mathematics(self) -> None:
        rows = [
            {
                "x": 0.5,
                "r": mean_interval([0.51, 0.53, 0.55]),
                "n": Done(3, 3),
                "t": "1e5",
                "s": mean_interval([1e-9, 2e-9]),
            },
            {"x": 1e-7, "r": WithN(mean_interval([0.2, 0.4])), "n": Done(2, 3), "t": "007", "s": None},
        ]
        text = render_table(rows, list(rows[0]), format="latex")
        assert text.startswith(r"% needs \usepackage{booktabs}")
        assert check_latex(text)[1:] == [
            ["$0.5$", r"$0.530 \pm 0.050$", "$3$", "1e5", r"$(1.5 \pm 6.4) \times 10^{-9}$"],
            [r"$1 \times 10^{-7}$", r"$0.3 \pm 1.3$ (n=2)", "2/3", "007", "--"],
        ]

    def test_the_best_is_bold(self) -> None:
        rows = [
            {"loss": 2.0, "acc": 0.5},
            {"loss": 1.0, "acc": 0.75},
            {"loss": 0.1, "acc": None},
            {"loss": math.nan},
        ]
        table = Table(["loss", "acc"], rows, best={"loss": "low", "acc": "high"}, unranked={2})
        found = check_latex(render_tables([table], format="latex"))[1:]
        assert found == [
            ["$2$", "$0.5$"],
            [r"$\mathbf{1}$", r"$\mathbf{0.75}$"],
            ["$0.1$", "--"],
            ["nan", "--"],
        ]

    def test_of_equal_values_none_is_best(self) -> None:
        table = Table(["loss"], [{"loss": 1.0}, {"loss": 1.0}], best={"loss": "low"})
        assert "mathbf" not in render_tables([table], format="latex")

    def test_everything_is_escaped(self) -> None:
        odd = '\\ { } $ & # % _ ^ ~ < > | " ± × – … ∞ µ [ ]'
        rows = check_latex(render_table([{odd: odd}, {odd: "[start"}], [odd], format="latex"))
        assert rows[0] == rows[1]
        assert rows[2] == ["{}[start"]

    @given(st.lists(st.text(max_size=30), min_size=1))
    def test_no_text_breaks_it(self, texts: list[str]) -> None:
        check_latex(
            render_tables([Table(["a", "b"], [{"a": t, "b": 1} for t in texts], title="t")], format="latex")
        )

    def test_shares_compare_too(self) -> None:
        table = Table(["ok"], [{"ok": Share(1, 2)}, {"ok": Share(2, 2)}], best={"ok": "high"})
        assert check_latex(render_tables([table], format="latex"))[1:] == [
            ["1/2 true"],
            [r"\textbf{2/2 true}"],
        ]


@pytest.mark.parametrize("format", FORMATS)
def test_without_rows_or_tables(format: str) -> None:
    assert render_table([], ["a"], format=format) is not None
    assert render_tables([], format=format) is not None


def test_an_unknown_format() -> None:
    with pytest.raises(ExperimentError, match=r"'markdwon'.*did you mean 'markdown'.*latex"):
        render_table([], ["a"], format="markdwon")


def test_heads_and_paths_of_csv_are_no_formulas() -> None:
    head = "=HYPERLINK(1)"
    damaged = Stored({"$": "datetime", "v": "=1+1"})
    row = {head: PurePosixPath("=cmd|' /C calc'!A0"), "-1": Decimal("-1.5"), "+d": damaged, "n": "\n=1"}
    heads, cells = read_csv(render_table([row], list(row), format="csv"))
    assert heads == [f"'{head}", "-1", "'+d", "n"]
    assert cells == ["'=cmd|' /C calc'!A0", "-1.5", "'=1+1", "'\n=1"]


def test_json_of_tables_has_escapes_for_what_cannot_be_seen() -> None:
    rows = [{"a": "x\u202ey\x7f\x9b", "é": "ü"}]
    text = render_table(rows, ["a", "é"], format="json")
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == rows


def test_markdown_of_pages_and_of_tables_has_the_same_escapes() -> None:
    signs = "\\ | ` * _ < > [ ] # ~ $"
    escaped = " ".join(f"\\{sign}" for sign in signs.split())
    page = Page("heading", [Facts("", [("price", signs)]), Grid("", ["a$", "n"], [[signs, "1"]], right={1})])
    text = render_page(page, format="markdown")
    assert f"| price | {escaped} |" in text
    assert f"| a\\$ | n |\n| --- | --: |\n| {escaped} | 1 |" in text
    assert escaped in render_table([{"a": signs}], ["a"], format="markdown")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class File(io.StringIO):
    encoding = "utf-8"


def test_what_is_printed_cannot_steer_a_terminal() -> None:
    text = "a,b\r\nü\x1b[31m\u202e,\r\x9b1\n"
    for stream, exact, expected in (
        (Terminal(), False, "a,b\nü\\x1b[31m\\u202e,\\r\\x9b1\n\n"),
        (Terminal(), True, "a,b\nü\\x1b[31m\\u202e,\\r\\x9b1\n\n"),
        (File(), False, "a,b\nü\\x1b[31m\\u202e,\\r\\x9b1\n\n"),
        (File(), True, f"{text}\n"),
    ):
        print_text(text, stream, exact=exact)
        assert stream.getvalue() == expected
