"""With the plugin installed and no experiment asked for, pytest pays for nothing."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("numpy", "h5py", "matplotlib", "yaml", "pydantic", "scipy", "filelock", "pandas", "tabulate")
ALLOWED = {
    "expedition",
    "expedition.lazily",
    "expedition.version",
    "expedition.plugin",
    "expedition.plugin.archive_options",
    "expedition.reporting",
    "expedition.reporting.format_names",
}

CONFTEST = """
import atexit, json, sys

@atexit.register
def report():
    with open("modules.json", "w") as stream:
        json.dump(sorted(sys.modules), stream)
"""


def test_an_empty_session_imports_nothing_of_ours(lab):
    lab.file("conftest.py", CONFTEST)
    lab.file("exp_a.py", "raise RuntimeError('never imported')")
    for arguments in (("--collect-only", "-q"), ("-p", "no:cacheprovider"), ("--help",)):
        lab.spawn(*arguments)
        modules = json.loads((lab.path / "modules.json").read_text())
        assert {name for name in modules if name.split(".")[0] == "expedition"} == ALLOWED
        assert not {name.split(".")[0] for name in modules} & set(HEAVY)
        (lab.path / "modules.json").unlink()


def test_tests_run_as_without_it(lab):
    lab.file("conftest.py", CONFTEST)
    lab.file("test_a.py", "def test_a(tmp_path, monkeypatch): pass\ndef test_b(): assert False")
    with_plugin = lab.spawn()
    modules = json.loads((lab.path / "modules.json").read_text())
    assert not {name.split(".")[0] for name in modules} & set(HEAVY)
    without = lab.spawn("-p", "no:expedition")

    def comparable(text: str) -> list[str]:
        return [line.partition(" in ")[0] for line in text.splitlines() if not line.startswith("plugins:")]

    assert comparable(with_plugin.out) == comparable(without.out)
    assert with_plugin.code == without.code == 1


def test_only_the_asserts_of_the_project_are_rewritten(lab):
    lab.file(
        "conftest.py",
        """
        import sys

        def pytest_sessionfinish(session):
            who = "worker" if hasattr(session.config, "workerinput") else "main"
            with open(f"loaders-{who}.txt", "w") as stream:
                for name in sorted(sys.modules):
                    if name.startswith("expedition."):
                        print(name, type(sys.modules[name].__spec__.loader).__name__, file=stream)
        """,
    )
    lab.experiment("@experiment\ndef exp_a(e):\n    a = 3\n    assert a == 4")
    lab.spawn("--experiments", ".", "-n1").exits(1).says("assert 3 == 4")
    for who in ("main", "worker"):
        loaders = dict(line.split() for line in (lab.path / f"loaders-{who}.txt").read_text().splitlines())
        names = {
            name for name in loaders if ".experiment_" not in name
        }  # such files are experiments to pytest
        later = {loaders[name] for name in names - ALLOWED}
        assert len(loaders) > 50
        assert later == {"SourceFileLoader"}


def test_importing_the_package_is_cheap():
    program = """
import sys
import expedition
before = set(sys.modules)
from expedition import experiment
print(sorted(n.split('.')[0] for n in sys.modules))
print(sorted(n for n in sys.modules if n.startswith('expedition')))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tops, ours = done.stdout.splitlines()
    for name in (*HEAVY, "pytest", "_pytest"):
        assert f"'{name}'" not in tops
    assert "expedition.recording" not in ours
    assert "expedition.trajectory" not in ours


def test_all_options_stand_in_one_group_of_the_help(lab):
    text = lab.pytest("--help").exits(0).out
    start = text.index("experiments (pytest-expedition):")
    group = text[start:].split("\n\n")[0]
    for option in (
        "--experiments",
        "--where",
        "--param",
        "--params-file",
        "--tag",
        "--note",
        "--archive",
        "--resume",
        "--archive-list",
        "--archive-show",
        "--archive-format",
    ):
        assert f"  {option}" in group or f", {option}" in group, option
        assert text.count(f"{option}=") <= 2
    for key in ("experiment_files", "experiment_archive", "experiment_seed"):
        assert key in text
