"""YAML configs as experiments: collected, typed, swept and refused like Python files."""

from __future__ import annotations

import os

import pytest

from tests.plugin.conftest import Lab

BASE = '''
from pathlib import Path

N: int = 5  # how many
RATE: float = 0.1
NAME: str = "base"
WIDTHS: tuple[int, ...] = (1, 2)
DATA: Path = Path("data")
MAYBE: int | None = None
MODES: list[str] = ["a"]

@experiment.parametrize("alpha", [1.0, 2.0])
def exp_base(e, alpha: float = 0.5, flag: bool = True):
    """The base."""
    e["seen"] = [N, RATE, NAME, WIDTHS, str(DATA), MAYBE, MODES, alpha, flag]
'''


@pytest.fixture
def base(lab: Lab) -> Lab:
    lab.experiment(BASE, "exp_base.py")
    return lab


def seen(lab: Lab) -> list[object]:
    return [record.data["seen"] for record in lab.records()]


class TestValues:
    def test_everything_is_typed_by_the_annotations(self, base: Lab) -> None:
        base.file(
            "exp_wide.yml",
            """
            extend: exp_base.py
            name: wide
            description: Wider search.
            tags: [paper]
            parameters:
              N: 7
              RATE: 1e-5
              NAME: "yes"
              WIDTHS: [3, 4, 5]
              DATA: /tmp/x
              MAYBE: 3
              MODES: [no, off]
              flag: false
            """,
        )
        base.run(path="exp_wide.yml").exits(0).says("wide: 2 runs")
        assert seen(base) == [
            [7, 1e-5, "yes", (3, 4, 5), "/tmp/x", 3, ["no", "off"], alpha, False] for alpha in (1.0, 2.0)
        ]
        record = base.records()[0]
        assert list(record.tags) == ["paper"]
        assert record.meta["experiment"]["description"] == "Wider search."
        assert record.meta["experiment"]["file"] == "exp_wide.yml"
        assert record.meta["parameters"]["N"]["origin"] == "config exp_wide.yml"
        (sweep,) = base.sweeps()
        assert {p.name for p in (sweep / "source").iterdir()} == {
            "exp_base.py",
            "exp_wide.yml",
            "experiment_code.yml",
        }

    def test_variables_of_the_environment(self, base: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COUNT", "12")
        monkeypatch.setenv("WHO", "me")
        monkeypatch.setenv("EMPTY", "")
        base.file(
            "exp_env.yml",
            """
            extend: "${FILE:-exp_base}.py"
            parameters:
              N: ${COUNT}
              RATE: "${RATE:-1e-3}"
              NAME: ${COUNT}
              DATA: ${ROOT:-data}/$${x}/${WHO}
              WIDTHS: ["${COUNT}", 1]
              MODES: ["${WHO}", "${EMPTY:-full}", "${COUNT}"]
            """,
        )
        base.run(path="exp_env.yml").exits(0)
        assert seen(base)[0] == [
            12,
            1e-3,
            "12",
            (12, 1),
            "data/${x}/me",
            None,
            ["me", "full", "12"],
            1.0,
            True,
        ]

    def test_inherit(self, base: Lab) -> None:
        base.file(
            "exp_one.yml",
            "extend: exp_base.py\nparameters: {N: 8, RATE: {inherit: '* 0.5'}, alpha: {inherit: '+ 1'}}",
        )
        base.file(
            "exp_two.yaml",
            "extend: exp_one.yml\nname: two\nparameters: {N: {inherit: '// 3'}, RATE: {inherit: }}",
        )
        base.run(path="exp_two.yaml").exits(0)
        assert [(s[0], s[1], s[7]) for s in seen(base)] == [(2, 0.05, 2.0), (2, 0.05, 3.0)]

    def test_special_variables_and_mixins(self, base: Lab) -> None:
        base.file("mixins/m.py", "EXTRA: int = 1\n")
        base.file(
            "sub/exp_m.yml",
            "extend: ../exp_base.py\ninclude: ../mixins/m.py\nnamespace: here/there\n"
            "parameters: {__PREFIX__: draft, __VERSION__: 2, EXTRA: 4}\n",
        )
        base.run(path="sub").exits(0).says("EXTRA=4")
        (sweep,) = base.sweeps()
        assert sweep.parent == base.path / "results" / "here" / "there"
        assert sweep.name.endswith("-draft")


class TestSweeps:
    def test_parts_multiply_and_replicates(self, base: Lab) -> None:
        base.file(
            "exp_s.yml",
            """
            extend: exp_base.py
            sweep:
              grid: {alpha: [0.001, 1e-1], N: [1]}
              zipped: {RATE: [1, 2], NAME: [x, "3"]}
            replicates: 2
            paired: true
            """,
        )
        base.run("--collect-only", "-q", path="exp_s.yml").exits(0).says(
            "exp_s.yml::exp_s[alpha=0.001-N=1-RATE=1.0-NAME=x-rep=0]", "RATE=2.0-NAME='3'-rep=1"
        )
        base.run("-n2", path="exp_s.yml").exits(0).says("exp_s: 8 runs (4 points × 2 replicates)")
        values = sorted((s[7], s[1], s[2]) for s in seen(base))
        assert values == sorted([(a, r, n) for a in (0.001, 0.1) for r, n in ((1.0, "x"), (2.0, "3"))] * 2)
        seeds = {record.params["alpha"]: record.seed for record in base.records() if record.replicate == 0}
        assert len(set(seeds.values())) == 1

    def test_samples_and_points(self, base: Lab) -> None:
        base.file(
            "exp_r.yml",
            """
            extend: exp_base.py
            sweep:
              random: {n: 5, seed: 1, alpha: {uniform: [0, 1]}, N: {choice: [1, 2]}, RATE: {loguniform: [1e-3, 1]}}
            """,
        )
        base.file("exp_p.yml", "extend: exp_base.py\nsweep: {points: [{alpha: 1, flag: false}, {alpha: 3}]}")
        base.run().exits(0)
        random = [r.params for r in base.records() if r.meta["experiment"]["name"] == "exp_r"]
        assert len(random) == 5
        assert all(0 <= p["alpha"] <= 1 and p["N"] in (1, 2) and 1e-3 <= p["RATE"] <= 1 for p in random)
        points = [r.params for r in base.records() if r.meta["experiment"]["name"] == "exp_p"]
        assert [(p["alpha"], p["flag"]) for p in points] == [(1.0, False), (3.0, True)]

    def test_options_apply_as_to_python_files(self, base: Lab) -> None:
        base.file("exp_o.yml", "extend: exp_base.py\nname: o\nsweep: {grid: {alpha: [1, 2, 3]}}")
        base.run("-P", "o:N=9", "--where", "alpha > 1", "-k", "3.0", path="exp_o.yml").exits(0)
        assert [(s[0], s[7]) for s in seen(base)] == [(9, 3.0)]
        base.run("--resume", "-P", "N=9", path="exp_o.yml").exits(0)
        assert len(seen(base)) == 3


def test_paths_are_relative_to_the_file_from_any_working_directory(
    base: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.file("deep/er/exp_d.yml", "extend: ../../exp_base.py\n")
    base.file("other/exp_base.py", "raise RuntimeError('the wrong one')")
    os.chdir(base.path / "other")
    base.pytest("--rootdir", base.path, "--experiments", base.path / "deep").exits(0)
    assert len(seen(base)) == 2


def test_a_config_by_any_name_is_taken_when_it_is_named(base: Lab) -> None:
    base.file("wide.yaml", "extend: exp_base.py\n")
    base.file("settings.yml", "not: an experiment\n")
    base.run("wide.yaml", path="wide.yaml").exits(0)
    base.run("--collect-only", "-q").exits(0).omits("settings", "wide.yaml")


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("extnd: exp_base.py", "exp_x.yml:1: 'extnd' is no key of a config (did you mean 'extend'?)"),
            ("name: x", "exp_x.yml: extend is missing"),
            ("- a", "exp_x.yml: a config is a mapping"),
            ("", "exp_x.yml: a config is a mapping"),
            (
                "extend: exp_bas.py",
                "exp_x.yml:1: the base 'exp_bas.py' is not there (did you mean 'exp_base.py'?)",
            ),
            ("extend: exp_x.yml", "exp_x.yml:1: an experiment extends itself"),
            ("extend: [a]", "exp_x.yml:1: extend must be a text, but got ['a']"),
            (
                "extend: exp_base.py\nname: 'a b'",
                "exp_x.yml:2: name: 'a b' cannot be the name of an experiment",
            ),
            ("extend: exp_base.py\nname: x\nname: y", "exp_x.yml:3: the key 'name' is given twice"),
            (
                "extend: exp_base.py\nparameters:\n  N: a",
                "parameter N must be int, but got 'a' (str) from exp_x.yml, line 3",
            ),
            (
                "extend: exp_base.py\nparameters:\n  RATEE: 1",
                "'RATEE', which is no parameter of exp_base.py (did you mean",
            ),
            (
                "extend: exp_base.py\nparameters: [1]",
                "exp_x.yml:2: parameters must be a mapping of names to values",
            ),
            (
                "extend: exp_base.py\nparameters: {__TSTING__: 1}",
                "exp_x.yml:2: __TSTING__ is no special parameter (did",
            ),
            (
                "extend: exp_base.py\nparameters:\n\n  N: ${NOWHERE_1}",
                "exp_x.yml:4: the variable NOWHERE_1 is not set",
            ),
            ("extend: exp_base.py\nparameters: {NAME: '${A b}'}", "exp_x.yml:2: '${A b}' names no variable"),
            ("extend: exp_base.py\nparameters: {NAME: '${A'}", "has a ${ without its }"),
            (
                "extend: exp_base.py\nparameters: {N: {inherit: '^ 2'}}",
                "exp_x.yml:2: N: inherit takes one of",
            ),
            (
                "extend: exp_base.py\nparameters: {NAME: {inherit: '* 2'}}",
                "NAME failed on the inherited value 'base'",
            ),
            (
                "extend: exp_base.py\nsweep: {gird: {N: [1]}}",
                "exp_x.yml:2: sweep has no 'gird' (did you mean 'grid'?)",
            ),
            ("extend: exp_base.py\nsweep: {grid: {M: [1]}}", "the sweep names 'M', which is neither"),
            (
                "extend: exp_base.py\nsweep: {grid: {N: 1}}",
                "exp_x.yml:2: sweep: grid: N must be a list of values",
            ),
            (
                "extend: exp_base.py\nsweep: {grid: {N: [x]}}",
                "N must be int, but got 'x' (str) from the sweep of config",
            ),
            (
                "extend: exp_base.py\nsweep: {random: {alpha: {uniform: [0, 1]}}}",
                "exp_x.yml:2: sweep: random needs n",
            ),
            (
                "extend: exp_base.py\nsweep: {random: {n: 2, alpha: {unifrm: [0, 1]}}}",
                "no distribution 'unifrm' (did you",
            ),
            (
                "extend: exp_base.py\nsweep: {random: {n: 2, alpha: [0, 1]}}",
                "a distribution is a mapping of one key",
            ),
            ("extend: exp_base.py\nreplicates: 0", "exp_x.yml:2: replicates must be a number of at least 1"),
            ("extend: exp_base.py\nreplicates: 10000001", "10,000,001 replicates of 2 points are more than"),
            ('extend: "a\\0b"', "exp_x.yml:1: the base 'a\\x00b' can be no path"),
            (f"extend: {'a' * 5000}", "can be no path: File name too long"),
            ('extend: exp_base.py\ninclude: "a\\0b"', "exp_x.yml:2: the mixin 'a\\x00b' can be no path"),
            ("extend: exp_base.py\ninclude: m.py", "exp_x.yml:2: the mixin 'm.py' is not there"),
            ("extend: exp_base.py\ntags: {a: 1}", "exp_x.yml:2: tags must be a text or a list of texts"),
            ("extend: exp_base.py\nnamespace: ../x", "exp_x.yml:2: a namespace must be folder names"),
            ("extend: exp_base.py\n x: [", "exp_x.yml:2: "),
            ("extend: exp_base.py\nparameters: {N: !!python/object:os.system 1}", "exp_x.yml:2: the tag"),
        ],
    )
    def test_errors_name_file_line_and_remedy(self, base: Lab, text: str, says: str) -> None:
        base.file("exp_x.yml", text)
        base.refused(workers=False).says(says)

    def test_workers_refuse_alike(self, base: Lab) -> None:
        base.file("exp_x.yml", "extend: exp_base.py\nparameters: {M: 1}")
        base.refused()

    def test_text_is_never_evaluated(self, base: Lab) -> None:
        base.file(
            "exp_x.yml",
            "extend: exp_base.py\nparameters: {NAME: \"__import__('os').system('touch pwned')\"}\n",
        )
        base.run(path="exp_x.yml").exits(0)
        assert seen(base)[0][2] == "__import__('os').system('touch pwned')"  # type: ignore[index]
        assert not (base.path / "pwned").exists()

    def test_what_the_environment_says_is_text_where_it_is_no_yaml(
        self, base: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ODD", "[a: b")
        monkeypatch.setenv("MODE", "true")
        base.file("exp_y.py", "from expedition import experiment\nL = []\n@experiment\ndef exp_y(e): pass")
        base.file(
            "exp_x.yml",
            "extend: exp_y.py\nparameters: {L: ['${ODD}', '${MODE}'], __PREFIX__: '${MODE}', __TESTING__: '${MODE}'}",
        )
        base.run(path="exp_x.yml").exits(0)
        record = base.record()
        assert record.params["L"] == ["[a: b", True]
        assert record.testing
        assert record.sweep_path.name.endswith("-true")
