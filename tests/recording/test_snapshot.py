"""Snapshots of code: which files belong to an experiment, and what is written of them."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from expedition.errors import ArtifactError
from expedition.recording.snapshot import local_sources, write_snapshot

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(root: Path) -> Write:
    def write(name: str, text: str = "", folder: Path = root) -> Path:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    return write


def names(file: Path, root: Path, **options: list[Path]) -> list[str]:
    found = local_sources(file, rootdir=root, **options)
    for name, path in found.items():
        assert path.samefile(root / name)
    return list(found)


class TestLocalSources:
    def test_imports_of_every_form(self, root: Path, write: Write) -> None:
        for name in (
            "plain",
            "aliased",
            "source",
            "inner",
            "guarded",
            "by_name",
            "by_call",
            "plugin",
            "unused",
        ):
            write(f"exps/{name}.py")
        file = write(
            "exps/exp_a.py",
            """
            import numpy as np, plain
            import aliased as other
            from source import value
            pytest_plugins = ["plugin"]
            def exp_a():
                import inner
                try:
                    import guarded
                except ImportError:
                    importlib.import_module("by_name")
                __import__("by_call")
            """,
        )
        expected = ["aliased", "by_call", "by_name", "guarded", "inner", "plain", "plugin", "source"]
        assert names(file, root) == ["exps/exp_a.py", *(f"exps/{name}.py" for name in expected)]

    def test_packages_and_recursion(self, root: Path, write: Write) -> None:
        write("lib/__init__.py", "from lib import registry")
        write("lib/registry.py")
        write("lib/deep/__init__.py")
        write(
            "lib/deep/model.py",
            "from .layers import Layer\nfrom .. import helpers\nfrom ..data.load import x",
        )
        write("lib/deep/layers.py", "import lib.deep.model")  # a circle
        write("lib/helpers.py")
        write("lib/data/load.py")  # a namespace package has no __init__.py
        write("lib/unused.py")
        file = write("exp_a.py", "from lib.deep import model")
        assert names(file, root) == [
            "exp_a.py",
            "lib/__init__.py",
            "lib/data/load.py",
            "lib/deep/__init__.py",
            "lib/deep/layers.py",
            "lib/deep/model.py",
            "lib/helpers.py",
            "lib/registry.py",
        ]

    def test_relative_imports_of_the_experiment(self, root: Path, write: Write) -> None:
        write("pkg/__init__.py", "from . import setup_things")
        write("pkg/setup_things.py")
        write("pkg/exps/__init__.py")
        write("pkg/common.py")
        write("pkg/exps/sibling.py")
        file = write("pkg/exps/exp_a.py", "from . import sibling\nfrom ..common import *\nfrom .... import x")
        assert names(file, root) == [
            "pkg/exps/exp_a.py",
            "pkg/__init__.py",
            "pkg/common.py",
            "pkg/exps/__init__.py",
            "pkg/exps/sibling.py",
            "pkg/setup_things.py",
        ]

    def test_absolute_import_from_within_a_package(self, root: Path, write: Write) -> None:
        write("src/pkg/__init__.py")
        write("src/pkg/helper.py")
        file = write("src/pkg/exp_a.py", "from pkg.helper import x")  # pytest puts src on sys.path
        assert "src/pkg/helper.py" in names(file, root)

    def test_entries_of_sys_path_inside_of_the_project(
        self, root: Path, write: Write, tmp_path: Path
    ) -> None:
        write("src/pkg/__init__.py")
        write("outside/__init__.py", folder=tmp_path)
        file = write("exps/exp_a.py", "import pkg, outside")
        assert names(file, root) == ["exps/exp_a.py"]
        sys.path[:0] = [str(root / "src"), str(tmp_path)]
        assert names(file, root) == ["exps/exp_a.py", "src/pkg/__init__.py"]

    def test_a_loaded_module_is_where_it_was_loaded_from(
        self, root: Path, write: Write, tmp_path: Path
    ) -> None:
        write("vendor/helper_x.py", "LOADED = True")
        write("exps/helper_x.py")
        write("exps/helper_y.py")
        write("exps/json.py")
        write("helper_y.py", folder=tmp_path / "elsewhere")
        file = write("exps/exp_a.py", "import helper_x, helper_y, json")
        assert names(file, root) == ["exps/exp_a.py", *(f"exps/{n}.py" for n in ("helper_x", "helper_y"))]
        sys.path[:0] = [str(root / "vendor"), str(tmp_path / "elsewhere")]
        for name in ("helper_x", "helper_y"):
            importlib.import_module(name)
        assert names(file, root) == ["exps/exp_a.py", "vendor/helper_x.py"]

    def test_submodules_of_a_loaded_package(self, root: Path, write: Write) -> None:
        write("hidden/place/pkg_z/__init__.py")
        write("hidden/place/pkg_z/later.py")
        file = write("exp_a.py", "def exp_a():\n    from pkg_z.later import x")
        sys.path.insert(0, str(root / "hidden" / "place"))
        importlib.import_module("pkg_z")
        del sys.path[0]  # as with the import hook of an editable installation
        assert names(file, root) == [
            "exp_a.py",
            *(f"hidden/place/pkg_z/{n}.py" for n in ("__init__", "later")),
        ]

    def test_modules_that_misbehave(self, root: Path, write: Write) -> None:
        class Lazy(ModuleType):
            def __getattr__(self, name: str) -> object:
                raise RuntimeError("cannot be loaded")

        lazy = Lazy("lazy_q")
        vars(lazy).clear()
        sys.modules["lazy_q"] = lazy
        sys.modules["none_q"] = None  # type: ignore[assignment]
        file = write("exp_a.py", "import lazy_q.sub, none_q, builtins")
        assert names(file, root) == ["exp_a.py"]

    @pytest.mark.parametrize(
        "content",
        [
            b"import helper\ndef (",
            b"import helper\0",
            b"# coding: nonsense\nimport helper",
            b"\xff",
            b"(" * 5000,
        ],
        ids=["syntax", "null", "codec", "utf8", "nested"],
    )
    def test_files_that_cannot_be_parsed_are_taken_as_they_are(
        self, root: Path, write: Write, content: bytes
    ) -> None:
        write("helper.py")
        (root / "broken.py").write_bytes(content)
        file = write("exp_a.py", "import broken")
        assert names(file, root) == ["exp_a.py", "broken.py"]

    def test_warnings_of_the_code_are_not_raised(self, root: Path, write: Write) -> None:
        write("helper.py")
        file = write("exp_a.py", "import helper\nPATTERN = '\\d'\nx = 1 is 1")
        assert names(file, root) == ["exp_a.py", "helper.py"]

    def test_other_encodings(self, root: Path, write: Write) -> None:
        write("hélper.py")
        (root / "exp_a.py").write_bytes("# coding: latin-1\nimport hélper".encode("latin-1"))
        assert names(root / "exp_a.py", root) == ["exp_a.py", "hélper.py"]

    def test_only_what_belongs_to_the_project(self, root: Path, write: Write) -> None:
        places = {
            "env/lib/site-packages": "in_site",
            "my_venv/lib": "in_venv",
            "conda/lib": "in_conda",
            ".git": "in_git",
            "results/exp_a/2026/source": "in_archive",
            "node_modules": "in_node",
        }
        for folder, module in places.items():
            write(f"{folder}/{module}.py")
            sys.path.insert(0, str(root / folder))
        write("my_venv/pyvenv.cfg")
        write("conda/conda-meta/history")
        file = write("exp_a.py", f"import {', '.join(places.values())}")
        assert names(file, root, exclude=[root / "results"]) == ["exp_a.py"]
        assert names(file, root) == ["exp_a.py", "results/exp_a/2026/source/in_archive.py"]

    def test_the_interpreter_below_the_rootdir(self, tmp_path: Path, write: Write) -> None:
        root = Path(os.path.commonpath([tmp_path, importlib.__file__]))  # such as / or a home folder
        write("helper.py")
        file = write("exp_a.py", "import helper, argparse, numpy, pytest")
        assert {path.name for path in local_sources(file, rootdir=root).values()} == {"exp_a.py", "helper.py"}

    def test_extra_files(self, root: Path, write: Write, tmp_path: Path) -> None:
        write("fixtures.py")
        extra = [
            write("conftest.py", "import fixtures"),
            write("exps/base.yml"),
            write("outside.py", folder=tmp_path),
            root / "missing.py",
            write("results/conftest.py"),
        ]
        file = write("exps/exp_a.py")
        expected = ["exps/exp_a.py", "conftest.py", "exps/base.yml", "fixtures.py"]
        assert names(file, root, extra=extra, exclude=[root / "results"]) == expected

    def test_an_experiment_that_is_no_python_file(self, root: Path, write: Write) -> None:
        base = write("exp_base.py")
        file = write("wide.yml", "extend: exp_base.py")
        assert names(file, root, extra=[base]) == ["wide.yml", "exp_base.py"]

    def test_an_experiment_outside_of_the_rootdir(self, root: Path, write: Write, tmp_path: Path) -> None:
        write("helper.py")
        file = write("exp_a.py", "import helper", folder=tmp_path)
        assert local_sources(file, rootdir=root) == {"exp_a.py": file, "helper.py": root / "helper.py"}

    def test_links(self, root: Path, write: Write, tmp_path: Path) -> None:
        write("tools.py", folder=tmp_path / "shared")
        (root / "lib").symlink_to(tmp_path / "shared")
        file = write("exp_a.py", "import lib.tools, helper")
        write("helper.py")
        assert names(file, root) == ["exp_a.py", "helper.py", "lib/tools.py"]
        alias = tmp_path / "alias"
        alias.symlink_to(root)
        assert names(file, alias) == ["exp_a.py", "helper.py", "lib/tools.py"]
        assert names(alias / "exp_a.py", root)[0] == "exp_a.py"

    def test_a_changed_file_is_read_again(self, root: Path, write: Write) -> None:
        write("was_read.py")
        write("is_read_now.py")
        file = write("exp_a.py", "import was_read")
        assert names(file, root) == ["exp_a.py", "was_read.py"]
        write("exp_a.py", "import is_read_now")
        assert names(file, root) == ["exp_a.py", "is_read_now.py"]


class TestWriteSnapshot:
    def test_writes_everything_with_digests(self, root: Path, write: Write, tmp_path: Path) -> None:
        file = write("exps/exp_a.py", "import helper  # ü\r\n")
        write("exps/helper.py", "x = 1\n")
        target = tmp_path / "deep" / "source"
        sources = local_sources(file, rootdir=root)
        digests = write_snapshot(target, sources, experiment_file=file)
        assert list(digests) == ["experiment_code.py", "exps/exp_a.py", "exps/helper.py"]
        for name, digest in digests.items():
            assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
        assert (target / "experiment_code.py").read_bytes() == file.read_bytes()
        written = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
        assert written == set(digests)  # nothing temporary is left

    def test_the_snapshot_runs_by_itself(self, root: Path, write: Write, tmp_path: Path) -> None:
        write("lib/__init__.py")
        write("lib/numbers.py", "VALUE = 42")
        file = write("exps/exp_a.py", "from lib.numbers import VALUE\nprint(VALUE)")
        target = tmp_path / "copy"
        write_snapshot(target, local_sources(file, rootdir=root), experiment_file=file)
        done = subprocess.run(
            [sys.executable, "-S", "exps/exp_a.py"],
            cwd=target,
            env={"PYTHONPATH": str(target)},
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"42\n"

    def test_again_over_an_earlier_one(self, root: Path, write: Write, tmp_path: Path) -> None:
        file = write("exp_a.py", "A = 1")
        sources = {"exp_a.py": file}
        first = write_snapshot(tmp_path / "t", sources, experiment_file=file)
        assert write_snapshot(tmp_path / "t", sources, experiment_file=file) == first

    def test_a_source_called_experiment_code(self, root: Path, write: Write, tmp_path: Path) -> None:
        other = write("experiment_code.py", "OTHER = 1")
        file = write("exp_a.py", "import experiment_code")
        target = tmp_path / "t"
        sources = local_sources(file, rootdir=root)
        digests = write_snapshot(target, sources, experiment_file=file)
        assert set(digests) == {"experiment_code.py", "exp_a.py", "_rootdir/experiment_code.py"}
        assert (target / "experiment_code.py").read_bytes() == file.read_bytes()
        assert (target / "_rootdir" / "experiment_code.py").read_bytes() == other.read_bytes()
        taken = {**sources, "_rootdir/experiment_code.py": write("_rootdir/experiment_code.py")}
        again = write_snapshot(tmp_path / "t2", taken, experiment_file=file)
        assert set(again) == {*digests, "__rootdir/experiment_code.py"}

    def test_the_experiment_itself_called_so(self, root: Path, write: Write, tmp_path: Path) -> None:
        file = write("experiment_code.py", "A = 1")
        digests = write_snapshot(tmp_path / "t", local_sources(file, rootdir=root), experiment_file=file)
        assert list(digests) == ["experiment_code.py"]

    @pytest.mark.parametrize(
        "name",
        ["../x.py", "/x.py", "a/../../x.py", "a//b.py", "./x.py", "", "..", "a\\b.py", "C:x.py", "a\0b"],
    )
    def test_escapes_are_refused_before_writing(self, write: Write, tmp_path: Path, name: str) -> None:
        file = write("exp_a.py")
        target = tmp_path / "t"
        with pytest.raises(ArtifactError, match="not a relative path"):
            write_snapshot(target, {"exp_a.py": file, name: file}, experiment_file=file)
        assert not target.exists()

    def test_a_link_that_leads_out_is_refused(self, write: Write, tmp_path: Path) -> None:
        file = write("exp_a.py")
        (tmp_path / "t").mkdir()
        (tmp_path / "outside").mkdir()
        (tmp_path / "t" / "lib").symlink_to(tmp_path / "outside")
        with pytest.raises(ArtifactError, match="would leave"):
            write_snapshot(tmp_path / "t", {"lib/x.py": file}, experiment_file=file)
        assert list((tmp_path / "outside").iterdir()) == []

    def test_a_path_through_a_file_is_refused(self, write: Write, tmp_path: Path) -> None:
        file = write("exp_a.py")
        with pytest.raises(ArtifactError, match="is a file"):
            write_snapshot(tmp_path / "t", {"a": file, "a/b.py": file}, experiment_file=file)

    def test_a_failed_write_leaves_nothing_half(
        self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write("exp_a.py", "A = 1")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space"):
            write_snapshot(tmp_path / "t", {"exp_a.py": file}, experiment_file=file)
        assert list((tmp_path / "t").iterdir()) == []
