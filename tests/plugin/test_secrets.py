"""Secret parameters: the experiment gets them, and no file of the archive and no line of the terminal has them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from expedition import Trajectory
from expedition.cli.main import main
from tests.plugin.conftest import Lab
from tests.thoroughness import further

SECRET = "sk-9\"ü'7f\\x"
"""Has what JSON escapes."""

EXPERIMENT = """
import logging, os, subprocess, sys, warnings
from expedition import Secret

API_KEY: Secret[str] = "unset"  # opens the door
TOKEN: Secret = None
N: int = 1

@experiment.replicate(2)
def exp_a(e):
    assert API_KEY == e.API_KEY == e.params["API_KEY"]
    e["length"] = len(API_KEY)
    print("printed", API_KEY)
    sys.stderr.write(f"error {API_KEY}\\n")
    logging.warning("logged %s", API_KEY)
    warnings.warn(API_KEY)
    e.log(f"said {API_KEY}")
    e.log_params()
    os.write(1, f"written {API_KEY}\\n".encode())
    child = "import os; print('child', os.environ['KEY'])"
    subprocess.run([sys.executable, "-c", child], env={**os.environ, "KEY": API_KEY})
    if e.replicate:
        raise ValueError(f"refused {API_KEY}")
"""


def everything(lab: Lab) -> str:
    """The content of every file of the archive."""
    return "\n".join(
        path.read_bytes().decode("utf-8", "replace")
        for path in (lab.path / "results").rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize("workers", [(), *further(("-n2",))])
@pytest.mark.parametrize("way", ["option", "literal", "config"])
def test_it_is_nowhere(lab: Lab, workers: tuple[str, ...], way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = EXPERIMENT if way != "literal" else EXPERIMENT.replace('"unset"', repr(SECRET))
    lab.experiment(text)
    arguments: list[str] = list(workers)
    if way == "option":
        arguments += ["-P", f"API_KEY={SECRET}"]
    if way == "config":
        monkeypatch.setenv("THE_KEY", SECRET)
        lab.file("exp_b.yml", "extend: exp_a.py\nparameters: {API_KEY: '${THE_KEY}'}\n")
    outcome = lab.spawn("--experiments", "exp_b.yml" if way == "config" else "exp_a.py", *arguments).exits(1)
    found = everything(lab)
    for shown in (outcome.text, found):
        assert SECRET not in shown
        assert "sk-9" not in shown
    for word in (
        "printed ***",
        "error ***",
        "logged ***",
        "said ***",
        "written ***",
        "child ***",
        "refused ***",
    ):
        assert word in found
    done, failed = lab.records()
    assert (done.data["length"], done.params["API_KEY"], done.params["TOKEN"]) == (len(SECRET), "***", "***")
    assert done.meta["parameters"]["API_KEY"]["type"] == "Secret[str]"
    assert failed.error is not None
    assert failed.error.message == "refused ***"
    with Trajectory.open(lab.sweeps()[0]) as traj:
        assert traj.par.API_KEY[0] == "***"
    lab.pytest("--archive-show", failed.path).exits(0).omits("sk-9")


def test_it_is_no_part_of_what_a_run_is(lab: Lab) -> None:
    lab.experiment(
        "from expedition import Secret\nKEY: Secret[str] = 'aaaa'\n@experiment\ndef exp_a(e): pass"
    )
    lab.run().exits(0)
    lab.run("--resume", "-P", "KEY=bbbb").exits(0).says("nothing to do")
    lab.run("--collect-only", "-P", "KEY=bbbb").exits(0).says("KEY=***").omits("bbbb")


@pytest.mark.parametrize(
    "statement",
    [
        "e['x'] = KEY",
        "e['x'] = {'deep': ['the key is ' + KEY]}",
        "e.derived('x', KEY)",
        "e.commit('x.txt', KEY)",
        "e.commit('x.json', {'key': KEY})",
        "e.annotate('x', KEY)",
        "e.note('with ' + KEY)",
        "e.tag(KEY)",
        "open('f', 'w').write(KEY); e.commit_file('f')",
    ],
)
def test_it_cannot_be_recorded(lab: Lab, statement: str) -> None:
    lab.experiment(
        f"from expedition import Secret\nKEY: Secret[str] = 'unset'\n@experiment\ndef exp_a(e):\n    {statement}"
    )
    name = (
        "the note" if ".note" in statement else "the tag" if ".tag" in statement else statement.split("'")[1]
    )
    out = lab.run("-P", "KEY=abcd1234").exits(1).omits("abcd1234")
    out.says("holds the text of a secret parameter")
    assert name in lab.record().error.message
    assert "abcd1234" not in everything(lab)


def test_files_that_are_opened_lose_it_too(lab: Lab) -> None:
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[str] = "unset"

        @experiment
        def exp_a(e):
            for name, text in (("x.txt", KEY), ("y.txt", KEY), ("z.txt", "harmless")):
                with e.open(name, "w") as file:
                    file.write(text)
        """
    )
    lab.run("-P", "KEY=abcd1234").exits(1)
    assert "abcd1234" not in everything(lab)
    record = lab.record()
    assert [entry["name"] for entry in record.meta["artifacts"]] == ["z.txt"]
    assert len(record.meta["outcome"]["problems"]) == 2


def test_in_whatever_form_it_is_refused_and_what_was_there_stays(lab: Lab) -> None:
    lab.experiment(
        """
        import numpy as np
        import pandas as pd
        from expedition import Secret
        KEY: Secret[str] = "unset"

        @experiment
        def exp_a(e):
            e["list"] = items = []
            e.commit("model.txt", "the good one")
            e.commit("data.npy", np.zeros(3))
            forms = {
                "bytes": KEY.encode(),
                "few": np.array([KEY.encode()]),
                "many": np.array([KEY.encode()] * 600),
                "wide": np.array([KEY] * 600),
                "masked": np.ma.array([KEY] * 600),
                "frame": pd.DataFrame({"n": range(600), "key": [f"{i % 50} {KEY}" for i in range(600)]}),
                KEY: np.zeros(600),
            }
            attempts = [lambda k=k, v=v: e.__setitem__(k, v) for k, v in forms.items()]
            attempts += [lambda v=v: e.derived("x", v) for v in forms.values() if not isinstance(v, np.ndarray) or v[0]]
            attempts += [
                lambda: e.commit("model.txt", "bad " + KEY, overwrite=True),
                lambda: e.commit("data.npy", np.array([KEY]), overwrite=True),
                lambda: e.commit(KEY + ".txt", "harmless"),
            ]
            refused = 0
            for attempt in attempts:
                try:
                    attempt()
                except TypeError as error:
                    assert "secrets are not recorded" in str(error) and KEY not in str(error)
                    refused += 1
            e["left"] = len(attempts) - refused
            e["frame"] = pd.DataFrame({"n": range(600), "text": ["harmless"] * 600})
        """
    )
    lab.run("-P", "KEY=abcd1234").exits(0)
    record = lab.record()
    assert record.data["left"] == 0
    assert sorted(record.data) == ["frame", "left", "list"]
    assert (record.path / "model.txt").read_text() == "the good one"
    assert [entry["name"] for entry in record.meta["artifacts"]] == ["model.txt", "data.npy"]
    assert all((record.path / name).is_file() for name in ("model.txt", "data.npy"))
    assert "abcd1234" not in everything(lab)
    assert not any("abcd1234" in path.name for path in (lab.path / "results").rglob("*"))


def test_what_is_changed_until_the_end_cannot_take_it_up(lab: Lab) -> None:
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[str] = "unset"

        @experiment
        def exp_a(e):
            first, second = [], []
            e["first"], e["second"] = first, second
            first.append(KEY)
            second.append("harmless")
        """
    )
    lab.run("-P", "KEY=abcd1234").exits(1)
    assert lab.record().data == {"first": [], "second": ["harmless"]}
    assert "abcd1234" not in everything(lab)


def test_the_digits_of_a_number_may_stand_in_others(lab: Lab) -> None:
    lab.experiment(
        """
        from expedition import Secret
        PIN: Secret[int] = 4821
        LONG: Secret[int] = 98765432

        @experiment
        def exp_a(e):
            for n in range(4800, 4840):
                e.track("x", n, step=n)
                e.track("x", n * 10**12)
            e["n"], e["text"] = 4821, "14821 and 4821.5 and x4821"
            e.commit("x.csv", "4821,1")
            print("the pin is 4821. 14821")
            for refused in ("the pin is 4821", {"pin": [98765432]}):
                try:
                    e["refused"] = refused
                except TypeError:
                    continue
                raise AssertionError(refused)
        """
    )
    lab.run().exits(0)
    record = lab.record()
    assert record.data == {"n": 4821, "text": "14821 and 4821.5 and x4821"}
    assert "the pin is ***. 14821" in (record.path / "experiment_out.log").read_text()


@pytest.mark.parametrize("way", ["skip", "prune", "fail"])
def test_the_reason_of_an_outcome_loses_it_too(lab: Lab, way: str) -> None:
    lab.experiment(
        f"""
        from expedition import Secret
        KEY: Secret[str] = "unset"

        @experiment
        def exp_a(e):
            e.{way}("because of " + KEY)
        """
    )
    lab.run("-P", "KEY=abcd1234", "-rA").omits("abcd1234")
    assert "abcd1234" not in everything(lab)
    assert "because of ***" in (lab.record().path / "experiment_meta.json").read_text()


@pytest.mark.parametrize(
    "assigned",
    [
        "KEY: Secret[int] = 98_765_432",
        "KEY: Secret[str] = 'test'",
        'KEY: Secret[str] = "unset"; hint = f"{KEY} unset"',
        "KEY: Secret[str] = os.environ.get('THE_KEY', 'fallback')",
    ],
)
def test_the_kept_code_loses_it_and_can_be_imported(lab: Lab, assigned: str) -> None:
    lab.experiment(
        f"""
        import os
        from expedition import Secret
        {assigned}  # 98765432 test fallback
        tested = "a test"

        def test_it(): return 5

        @experiment
        def exp_a(e, other: Secret[str] = "not this", n: int = 3): e["n"] = test_it()

        @experiment.analysis
        def look(record): print("looked", test_it(), KEY, tested)
        """
    )
    lab.run("-P", "other=abcd1234").exits(0)
    (record,) = lab.records()
    for file in ("experiment_code.py", "source/exp_a.py"):
        code = (record.sweep_path / file).read_text()
        compile(code, file, "exec")
        assert "def test_it(): return 5" in code
        for text in ("98_765_432", "'test'", '"unset"', "'fallback'", "not this"):
            assert text not in code
    (lab.path / "exp_a.py").unlink()
    done = subprocess.run(
        [sys.executable, record.path / "analysis.py"], capture_output=True, text=True, check=False
    )
    assert "looked 5 ***" in done.stdout, done.stderr


def test_a_config_keeps_its_form(lab: Lab) -> None:
    lab.experiment("from expedition import Secret\nKEY: Secret[str] = ''\n@experiment\ndef exp_a(e): pass")
    lab.file("exp_b.yml", "extend: exp_a.py\nparameters:\n  KEY: abcd-1234\n# abcd-1234\n")
    lab.run(path="exp_b.yml").exits(0)
    text = (lab.record().sweep_path / "source/exp_b.yml").read_text()
    assert text == 'extend: exp_a.py\nparameters:\n  KEY: "***"\n# ***\n'


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_that_of_a_child_is_nowhere_in_its_parent(lab: Lab, workers: tuple[str, ...]) -> None:
    lab.experiment(
        """
        import logging, os, warnings
        from expedition import Secret
        KEY: Secret[str] = "unset"

        @experiment
        def exp_a(e):
            logging.warning("logged %s", KEY)
            warnings.warn(KEY)
            raise ValueError("refused " + KEY)
        """
    )
    lab.experiment(
        """
        import os

        @experiment
        def exp_b(e):
            try:
                e.run_child("exp_a.py", KEY=os.environ["THE_KEY"])
            except ValueError as error:
                print(error)
                try:
                    e["error"] = str(error)
                except TypeError:
                    e["refused"] = True
                raise
        """,
        name="exp_b.py",
    )
    outcome = lab.spawn("--experiments", "exp_b.py", "-rA", "--showlocals", *workers, THE_KEY="abcd-1234")
    outcome.exits(1).says("refused ***").omits("abcd-1234", "abcd")
    assert "abcd-1234" not in everything(lab)
    assert lab.record().data == {"refused": True}


OTHER = """
from expedition import Secret, experiment
KEY: Secret[str] = "abcd-1234"
URL: str = f"https://{KEY}@host"

@experiment
def exp_other(e): pass

if __name__ == "__main__":
    experiment.main()
"""


def test_it_is_in_no_help_and_in_no_new_file(lab: Lab) -> None:
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[str] = "abcd-1234"

        @experiment
        def exp_a(e, pin: Secret[int] = 98765432): e["length"] = len(KEY)

        experiment.main()
        """
    )
    done = subprocess.run(
        [sys.executable, "exp_a.py", "--help"], capture_output=True, text=True, check=True, cwd=lab.path
    )
    assert "default: ***" in done.stdout
    written = [done.stdout]
    for kind, name in (("extend", "exp_more.py"), ("config", "exp_less.yml")):
        assert main(["new", kind, name.partition(".")[0], "--from", "exp_a.py"]) == 0
        written.append((lab.path / name).read_text())
    lab.file("exp_other.py", OTHER)
    done = subprocess.run(
        [sys.executable, "exp_other.py", "--help"], capture_output=True, text=True, check=True, cwd=lab.path
    )
    assert "https://***@host" in done.stdout
    (lab.path / "exp_other.py").unlink()
    for text in (*written, done.stdout):
        assert "abcd" not in text
        assert "98765432" not in text
    lab.run(path="exp_more.py").exits(0)
    lab.run(path="exp_less.yml").exits(0)
    assert [record.data["length"] for record in lab.records()] == [9, 9]


def test_refusals(lab: Lab) -> None:
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[int] = 1
        @experiment.parametrize("KEY", [1, 2])
        def exp_a(e): pass
        """
    )
    lab.refused().says("KEY is secret and cannot be swept")
    lab.experiment("from expedition import Secret\nKEY: Secret[int] = 1\n@experiment\ndef exp_a(e): pass")
    lab.refused("-P", "KEY=abcdefgh").says("parameter KEY must be Secret[int], but got a secret (str)").omits(
        "'abcdefgh'"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("URL: str = f'https://{KEY}@host'\n@experiment\ndef exp_a(e): pass", "URL"),
        ("@experiment\ndef exp_a(e, dsn: str = f'pg://{KEY}@host'): pass", "dsn"),
        (
            "@experiment.parametrize('dsn', ['here', f'pg://{KEY}@host'])\ndef exp_a(e, dsn: str = ''): pass",
            "dsn",
        ),
        ("@experiment.parametrize('dsn', [['here']])\ndef exp_a(e, dsn: list = [{'k': [KEY]}]): pass", "dsn"),
        (
            "from expedition.sweeps import choice, random\n"
            "@experiment.sweep(random(1, seed=1, dsn=choice([*map(str, range(500)), KEY])))\n"
            "def exp_a(e, dsn: str = ''): pass",
            "the sweep",
        ),
    ],
)
def test_no_other_parameter_has_it(lab: Lab, text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "abcd-1234")
    head = "import os\nfrom expedition import Secret\nKEY: Secret[str] = os.environ['THE_KEY']\n"
    lab.experiment(head + text)
    lab.refused().says(f"{name} holds the text of a secret parameter", "Secret as well").omits("abcd-1234")
    assert not (lab.path / "results").exists()


def test_neither_has_one_of_a_child_or_of_a_further_run(lab: Lab) -> None:
    lab.experiment("@experiment\ndef exp_b(e, url: str = ''): pass", name="exp_b.py")
    lab.experiment(
        """
        from expedition import Secret
        KEY: Secret[str] = "unset"

        @experiment
        def exp_a(e, url: str = ""):
            e.run_child("exp_b.py", url=f"https://{KEY}@host")

        @experiment.after_sweep
        def further(sweep):
            return [{"url": f"https://{KEY}@host"}]
        """
    )
    lab.run("-P", "KEY=abcd-1234", path="exp_a.py").exits(1).says("after_sweep of exp_a failed").omits(
        "abcd-1234"
    )
    record = lab.record()
    assert record.error is not None
    assert "url holds the text of a secret parameter" in record.error.message
    assert "abcd-1234" not in everything(lab)


def test_the_annotation_is_one_for_type_checkers(tmp_path: object) -> None:
    program = "from expedition import Secret\nimport typing\nprint(typing.get_args(Secret[str])[0].__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "str\n"
