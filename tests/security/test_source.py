"""What the package never does, shown by the syntax trees of its source: no text becomes code, no shell is asked.

Each exception stands in `ALLOWED` with its reason, and one that is no longer needed fails, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import expedition

PACKAGE = Path(expedition.__file__).parent

ALLOWED = {
    ("recording/cache.py", "pickle.loads"): 'a cached result of which its author said codec="pickle"',
    ("recording/cache.py", "pickle.dumps"): 'a cached result of which its author said codec="pickle"',
    ("recording/provenance.py", "subprocess.Popen"): "git, by a list of arguments",
    ("trajectory/__main__.py", "subprocess.run"): "this Python and this module, by a list of arguments",
    (
        "plugin/running.py",
        "subprocess.Popen",
    ): "`expedition.run`: this Python and pytest, by a list of arguments",
    (
        "plugin/timeouts.py",
        "subprocess.Popen",
    ): "this Python and a file of the package, by a list of arguments",
    ("plugin/dispatch.py", "import_module"): "names of modules of pytest-xdist that stand in the source",
    ("recording/provenance.py", "import socket"): "the name of this host",
    ("recording/writer.py", "import socket"): "the name of this host",
    ("authoring/modules.py", "exec_module"): "an experiment file that the user names is imported",
    ("values/_walk.py", "import_module"): "names of libraries that stand in the source",
    ("trajectory/reading/extras.py", "import_module"): "names of libraries that stand in the source",
    ("authoring/marker.py", "import_module"): "a name of the package's own modules",
    (
        "authoring/module_text.py",
        "compile",
    ): "to know the names in the project's own code; it is not executed",
    ("lazily.py", "import_module"): "names of the package's own modules",
}
"""Calls that a default path does not make on what it reads, by file and call, with the reason."""

CALLS = frozenset(
    {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
    | {
        f"os.{name}"
        for name in ("system", "popen", "execv", "execve", "execvp", "execl", "spawnv", "posix_spawn", "fork")
    }
    | {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen", "getoutput")}
    | {f"pickle.{name}" for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler")}
    | {
        f"{module}.{name}"
        for module in ("marshal", "shelve", "dill", "cloudpickle", "joblib")
        for name in ("load", "loads")
    }
    | {
        "shelve.open",
        "yaml.load",
        "yaml.load_all",
        "yaml.unsafe_load",
        "yaml.full_load",
        "pd.read_pickle",
        "pandas.read_pickle",
    }
    | {
        "runpy.run_path",
        "runpy.run_module",
        "importlib.import_module",
        "import_module",
        "code.interact",
        "tempfile.mktemp",
    }
    | {
        "pd.eval",
        "pandas.eval",
        "numexpr.evaluate",
        "webbrowser.open",
        "urllib.request.urlopen",
        "shutil.unpack_archive",
    }
)
METHODS = frozenset({"exec_module", "load_module", "extractall", "read_pickle", "to_pickle"})
"""Names of methods that are told by their name alone."""
MODULES = frozenset(
    {
        "marshal",
        "shelve",
        "dill",
        "cloudpickle",
        "joblib",
        "code",
        "socket",
        "urllib",
        "http",
        "ftplib",
        "telnetlib",
        "requests",
    }
)
"""Modules that nothing of the package imports."""


OPENED = {
    ("archive/schemas.py", "read_bytes"): "a file of the package",
    ("archive/notebook.py", "read_text"): "a copy of sources that was looked for, and is a file",
    ("plugin/launch.py", "read_text"): "what the program wrote that called pytest",
    ("plugin/sweeps.py", "read_bytes"): "a file of the project, which was imported",
    ("plugin/child_code.py", "read_bytes"): "a file of the project, which was imported",
    ("plugin/experiment_codes.py", "read_bytes"): "files of the project, which were imported",
}
"""Readings without `open_plain`, by file and call, with the reason why no archive of others is read."""
READERS = ("archive", "reporting", "plugin")
"""Parts of the package that read files of an archive. Those of trajectories open them with HDF5, after a look."""


class Finding(NamedTuple):
    """A call that is looked for, and where it stands."""

    file: str
    call: str
    line: int


def name_of(node: ast.expr) -> str:
    """The dotted name of what is called, as far as it is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        above = name_of(node.value)
        return f"{above}.{node.attr}" if above else node.attr
    return ""


def findings(tree: ast.AST, file: str) -> Iterator[Finding]:
    """Yield every use of what is looked for."""
    called_from = {}  # `from pickle import loads as f`
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            called_from |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            called_from |= {alias.asname: alias.name for alias in node.names if alias.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = (name := name_of(node.func)).partition(".")
            full = f"{called_from[first]}.{rest}".rstrip(".") if first in called_from else name
            for call in {name, full} & CALLS or {full.rpartition(".")[2]} & METHODS:
                yield Finding(file, call.removeprefix("importlib."), node.lineno)
            for word in node.keywords:
                told = isinstance(word.value, ast.Constant) and word.value.value is not False
                if word.arg in ("shell", "allow_pickle") and (
                    told or not isinstance(word.value, ast.Constant)
                ):
                    yield Finding(file, f"{word.arg}=True", node.lineno)
            if full in ("numpy.load", "np.load") and not any(
                word.arg == "allow_pickle" for word in node.keywords
            ):
                yield Finding(file, "np.load without allow_pickle=False", node.lineno)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            for name in names:
                if name.partition(".")[0] in MODULES and not getattr(node, "level", 0):
                    yield Finding(file, f"import {name}", node.lineno)


def openings(tree: ast.AST, file: str) -> Iterator[Finding]:
    """Yield every opening for reading that would wait for a pipe, and follow a link."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        is_method = isinstance(node.func, ast.Attribute)
        arguments = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
        modes = [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if (is_method and call in ("read_bytes", "read_text")) or (
            call == "open" and (not is_method or modes) and not any(set(mode) & set("wxa") for mode in modes)
        ):
            yield Finding(file, call, node.lineno)


def all_findings() -> list[Finding]:
    """Of every file of the package."""
    found: list[Finding] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += findings(tree, path.relative_to(PACKAGE).as_posix())
    return found


def test_nothing_that_is_read_becomes_code() -> None:
    found = all_findings()
    new = [finding for finding in found if (finding.file, finding.call) not in ALLOWED]
    assert not new, "a call that is allowed nowhere, or a reason is missing in ALLOWED"
    idle = ALLOWED.keys() - {(finding.file, finding.call) for finding in found}
    assert not idle, "an exception that nothing needs any more"


def test_files_of_an_archive_are_opened_as_plain_files() -> None:
    found = [
        finding
        for part in READERS
        for path in sorted((PACKAGE / part).rglob("*.py"))
        for finding in openings(ast.parse(path.read_text("utf-8")), path.relative_to(PACKAGE).as_posix())
    ]
    new = [finding for finding in found if (finding.file, finding.call) not in OPENED]
    assert not new, "use open_plain or read_plain, or say in OPENED why not"
    assert not OPENED.keys() - {(finding.file, finding.call) for finding in found}, "a reason nothing needs"
    for text in ("open(path)", "open(path, 'rb')", "path.open('rb')", "path.read_text()", "p.read_bytes()"):
        assert list(openings(ast.parse(text), "x.py")), text


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import pickle\npickle.loads(b'')",
        "from pickle import loads as f\nf(b'')",
        "import pickle as p\np.load(x)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "from subprocess import Popen\nPopen(['ls'])",
        "f(shell=shell)",
        "import numpy as np\nnp.load(x)",
        "import numpy as np\nnp.load(x, allow_pickle=True)",
        "import yaml\nyaml.load(x, Loader=L)",
        "from yaml import unsafe_load\nunsafe_load(x)",
        "import importlib\nimportlib.import_module(name)",
        "import os\nos.system('ls')",
        "spec.loader.exec_module(module)",
        "import http.client",
        "from urllib.request import urlopen",
        "archive.extractall(x)",
        "__import__('os')",
    ],
)
def test_it_would_be_found(text: str) -> None:
    assert list(findings(ast.parse(text), "x.py"))


@pytest.mark.parametrize(
    "text",
    [
        "import re\nre.compile('x')",
        "row.eval",
        "np.load(x, allow_pickle=False)",
        "f(shell=False)",
        "from .code import x",
    ],
)
def test_what_is_harmless_is_not(text: str) -> None:
    assert not list(findings(ast.parse(text), "x.py"))
