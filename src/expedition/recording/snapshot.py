"""The code of an experiment: which files of the project it needs, and copying them into a sweep folder."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from expedition.errors import ArtifactError

__all__ = ["CLASH_FOLDER", "EXPERIMENT_CODE", "code_file_of", "local_sources", "write_snapshot"]

EXPERIMENT_CODE = "experiment_code.py"
CLASH_FOLDER = "_rootdir"

_FOREIGN_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "node_modules", "__pycache__", ".git", ".hg", ".tox", ".nox", ".venv"}
)
_NAMING_CALLS = frozenset({"extend", "include", "run_child"})
_IMPORTING_CALLS = frozenset({"import_module", "__import__", "importorskip"})


def code_file_of(experiment_file: Path) -> str:
    """Return the name that an experiment file has in an archive: ``experiment_code.py``, or that of a config."""
    return (
        f"{Path(EXPERIMENT_CODE).stem}{experiment_file.suffix}" if experiment_file.suffix else EXPERIMENT_CODE
    )


def local_sources(
    experiment_file: Path,
    *,
    rootdir: Path,
    extra: Sequence[Path] = (),
    exclude: Sequence[Path] = (),
) -> dict[str, Path]:
    """Find the experiment file and all project files that it imports, directly or not.

    Imports are read from the syntax tree (so also those inside of functions), together with
    ``import_module("literal")`` and ``pytest_plugins``, and files that ``extend``, ``include``
    and ``run_child`` name. A module that is loaded is where it was loaded
    from; others are looked up in the file's own folder, below `rootdir` and in the entries of ``sys.path``
    inside of it. The ``__init__.py`` of every package on the way belongs to it. Nothing is imported, and a
    file that cannot be parsed is taken without looking for its imports.

    :param experiment_file: the file to begin with (need not be Python).
    :param rootdir: the project; only ``.py`` files below it are found, and none in virtual environments,
        ``site-packages``, ``.git`` or the standard library.
    :param extra: further files (conftests, bases, mixins), taken with their imports.
    :param exclude: folders (the archive root) from which nothing is taken.
    :returns: POSIX paths relative to `rootdir` and the files; the experiment file first, the others
        sorted. An experiment file outside of `rootdir` goes by its mere name; an extra file outside is
        left out.
    """
    project = _Project(rootdir, exclude)
    experiment_file = Path(os.path.abspath(experiment_file))
    key = project.key(experiment_file) or experiment_file.name
    found: dict[str, Path] = {key: experiment_file}
    waiting = [experiment_file]

    def take(file: Path, *, any_suffix: bool = False) -> None:
        name = project.key(file)
        if name is None or name in found or not (any_suffix or file.suffix == ".py"):
            return
        found[name] = file
        waiting.append(file)

    for path in extra:
        file = Path(os.path.abspath(path))
        if file.is_file():
            take(file, any_suffix=True)
    while waiting:
        file = waiting.pop()
        for folder in file.parents:
            if not (folder / "__init__.py").is_file():
                break
            take(folder / "__init__.py")
        if file.suffix == ".py":
            for imported in project.imports_of(file):
                take(imported)
        for named in _named_files(file):
            take(named, any_suffix=True)
    return {key: found.pop(key), **{name: found[name] for name in sorted(found)}}


def write_snapshot(
    target: Path,
    sources: Mapping[str, Path],
    *,
    experiment_file: Path,
    mask: Callable[[bytes, str], bytes] = lambda content, suffix: content,
) -> dict[str, str]:
    """Copy the experiment's code into a folder.

    The bytes of `experiment_file` go to ``experiment_code.py`` (``.yml`` of a config), those of each source to its
    relative path.
    A source that is itself called ``experiment_code.py`` at the top, but is another file, goes below the
    folder ``_rootdir`` instead (``_rootdir/experiment_code.py``), so that neither hides the other. Each
    file appears whole or not at all.

    :param target: the folder, made when it is missing.
    :param sources: as :func:`local_sources` returns them.
    :param mask: takes out of the content of a file, whose name ends in the suffix, what must not be copied.
    :returns: for each written path, relative to `target`, the sha256 of what was written (hexadecimal).
    :raises ArtifactError: when a path is absolute, leads out of `target`, or goes through what is a file.
    :raises OSError: when a file cannot be read or written.
    """
    plan = _plan(sources, experiment_file)
    target.mkdir(parents=True, exist_ok=True)
    top = target.resolve()
    digests: dict[str, str] = {}
    for name, source in plan.items():
        file = top.joinpath(*name.split("/"))
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.parent.resolve().is_relative_to(top):  # a symbolic link that was there before
            raise ArtifactError(f"the snapshot of {name!r} would leave the folder {target}")
        # Read once, so that the digest is of what is written
        content = mask(source.read_bytes(), source.suffix)
        _write(file, content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


# --- writing -----------------------------------------------------------------------------------------


def _plan(sources: Mapping[str, Path], experiment_file: Path) -> dict[str, Path]:
    code = code_file_of(experiment_file)
    plan = {code: experiment_file}
    # Names are compared without case, since the archive may lie on a file system that ignores it
    clashes = [name for name in sources if _is_experiment_code(name, sources[name], experiment_file)]
    folder = CLASH_FOLDER
    while any(name.casefold().startswith(f"{folder}/".casefold()) for name in sources):
        folder = f"_{folder}"
    for name, source in sources.items():
        _check(name)
        if name in clashes:
            plan[f"{folder}/{name}"] = source
        elif name != code:
            plan[name] = source
    files = {name.casefold() for name in plan}
    for name in plan:
        for parent in PurePosixPath(name.casefold()).parents:
            if str(parent) in files:
                raise ArtifactError(f"the snapshot cannot hold {name!r}: a part of the path is a file")
    return plan


def _is_experiment_code(name: str, source: Path, experiment_file: Path) -> bool:
    """Tell whether a source wants the place of the experiment's code without being it."""
    code = code_file_of(experiment_file)
    if name.casefold().partition("/")[0] != code:
        return False
    with contextlib.suppress(OSError):
        return name != code or not source.samefile(experiment_file)
    return True


def _check(name: str) -> None:
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\0" in name
        # What is harmless here may be an absolute path where the archive is unpacked
        or "\\" in name
        or PureWindowsPath(name).drive
    ):
        raise ArtifactError(f"{name!r} is not a relative path inside of the snapshot")


def _write(file: Path, content: bytes) -> None:
    # A short name of its own: that of the file plus a suffix could be too long
    temporary = file.parent / f".tmp-{os.getpid()}-{next(_COUNTER)}"
    try:
        temporary.unlink(missing_ok=True)  # left by a process that was killed
        with open(temporary, "xb") as stream:
            stream.write(content)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


_COUNTER = itertools.count()


# --- finding -----------------------------------------------------------------------------------------


class _Project:
    """The files that belong to a project, and how names of modules lead to them."""

    def __init__(self, rootdir: Path, exclude: Sequence[Path]) -> None:
        self._root = Path(os.path.abspath(rootdir))
        self._real_root = self._root.resolve()
        # The interpreter itself may lie below a rootdir that is a home folder (pyenv, conda)
        interpreter = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
        inner = [path for path in map(Path, interpreter) if path.resolve().is_relative_to(self._real_root)]
        outside = {Path(os.path.abspath(path)) for path in [*exclude, *inner]}
        self._outside = outside | {path.resolve() for path in outside}
        self._keys: dict[Path, str | None] = {}
        self._modules: dict[tuple[str, Path], list[Path]] = {}
        self._environments: dict[Path, bool] = {}
        self._search = [self._root]
        for entry in sys.path:
            folder = Path(os.path.abspath(entry))  # "" is the current folder
            if folder.is_relative_to(self._root) or folder.is_relative_to(self._real_root):
                self._search.append(folder)

    def key(self, file: Path) -> str | None:
        """Return the path relative to the project, or ``None`` for what does not belong to it."""
        if file not in self._keys:
            self._keys[file] = self._find_key(file)
        return self._keys[file]

    def _find_key(self, file: Path) -> str | None:
        # As written first: a link in the project to a shared folder keeps the place it is imported from
        real = file.resolve()
        for path, root in ((file, self._root), (file, self._real_root), (real, self._real_root)):
            if path.is_relative_to(root):
                relative = path.relative_to(root)
                break
        else:
            return None
        if not _FOREIGN_FOLDERS.isdisjoint(relative.parts[:-1]):
            return None
        if any(path.is_relative_to(folder) for path in (file, real) for folder in self._outside):
            return None
        folders = itertools.islice(path.parents, len(relative.parts) - 1)
        if any(self._is_environment(folder) for folder in folders):
            return None
        return relative.as_posix()

    def _is_environment(self, folder: Path) -> bool:
        if folder not in self._environments:
            marks = ("pyvenv.cfg", "conda-meta")
            self._environments[folder] = any((folder / mark).exists() for mark in marks)
        return self._environments[folder]

    def imports_of(self, file: Path) -> Iterator[Path]:
        """Yield the files (of whatever project) that the imports of `file` lead to."""
        for level, name, members in _imports(file):
            if level:
                base = file.parents[min(level, len(file.parents)) - 1]
                yield from _below([base], name, members)
                continue
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                yield from self._module(".".join(parts[:length]), file)
            for member in members:
                yield from self._module(f"{name}.{member}", file)

    def _module(self, name: str, importer: Path) -> list[Path]:
        question = (name, importer.parent)
        if question not in self._modules:  # files of one folder ask the same over and over
            self._modules[question] = list(self._find_module(name, importer))
        return self._modules[question]

    def _find_module(self, name: str, importer: Path) -> Iterator[Path]:
        module = sys.modules.get(name)
        if module is not None:
            loaded = _attribute(module, "__file__")
            if isinstance(loaded, str):
                yield Path(os.path.abspath(loaded))
            return
        parent, _, last = name.rpartition(".")
        if parent in sys.modules:  # its path may come from an import hook, as of editable installations
            paths = _attribute(sys.modules[parent], "__path__")
            folders = [Path(str(path)) for path in paths] if isinstance(paths, Iterable) else []
            yield from itertools.islice(_files(folders, last), 1)
            return
        folders = [importer.parent, *self._search]
        # Where pytest puts a file's package on sys.path: above its topmost __init__.py
        top = next((folder for folder in importer.parents if not (folder / "__init__.py").is_file()), None)
        if top is not None and top != importer.parent:
            folders.insert(0, top)
        yield from itertools.islice(_files(folders, name), 1)


def _attribute(module: object, name: str) -> object:
    try:
        return getattr(module, name, None)
    except Exception:  # a lazy module that fails to load, or something else that was put into sys.modules
        return None


def _below(folders: list[Path], name: str, members: Iterable[str]) -> Iterator[Path]:
    """Yield the files of a relative import: the modules of the dotted `name`, and of its members."""
    parts = name.split(".") if name else []
    for length in range(1, len(parts) + 1):
        yield from _files(folders, ".".join(parts[:length]))
    if not parts:
        yield from (file for folder in folders if (file := folder / "__init__.py").is_file())
    for member in members:
        yield from _files(folders, ".".join([*parts, member]))


def _files(folders: Iterable[Path], name: str) -> Iterator[Path]:
    """Yield the files that a dotted name may mean in the folders, in the order of the import system."""
    for folder in folders:
        path = folder.joinpath(*name.split("."))
        for file in (path / "__init__.py", path.parent / f"{path.name}.py"):
            if file.is_file():
                yield file
                break


def _imports(file: Path) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return _parsed_imports(str(file), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)  # experiments of one project share most of their modules
def _parsed_imports(file: str, _mtime: int, _size: int) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Return the imports of a file as (level, module, imported names)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the user's string escapes; not ours to report
            tree = ast.parse(Path(file).read_bytes())
        return tuple(_found_imports(tree))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _found_imports(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    yield 0, alias.name, ()
            case ast.ImportFrom(module, names, level):
                yield level or 0, module or "", tuple(alias.name for alias in names if alias.name != "*")
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(name)), *_],
            ) if called in _IMPORTING_CALLS:
                yield from _by_text(name)
            case ast.Assign(targets=[ast.Name(id="pytest_plugins")], value=value):
                for constant in ast.walk(value):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                        yield from _by_text(constant.value)


def _named_files(file: Path) -> Iterator[Path]:
    """Yield the files that an experiment file or config names by their paths, relative to its folder."""
    for text in _names_in_config(file) if file.suffix in (".yml", ".yaml") else _names_in_calls(file):
        path = Path(os.path.abspath(file.parent / text.partition("::")[0]))
        with contextlib.suppress(OSError, ValueError):
            if path.is_file():
                yield path


def _names_in_calls(file: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr=called), args=arguments) if called in _NAMING_CALLS:
                    texts = (argument.value for argument in arguments if isinstance(argument, ast.Constant))
                    yield from (text for text in texts if isinstance(text, str))


def _names_in_config(file: Path) -> Iterator[str]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    for key in ("extend", "include"):
        value = content.get(key) if isinstance(content, dict) else None
        texts = value if isinstance(value, list) else [value]
        yield from (text for text in texts if isinstance(text, str))


def _by_text(name: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    bare = name.lstrip(".")
    if all(part.isidentifier() for part in bare.split(".")):
        yield len(name) - len(bare), bare, ()
