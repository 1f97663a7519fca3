"""Where a sweep came from: code, machine, interpreter and installed distributions.

Everything here is collected once per invocation and is tolerant: a part that cannot be read becomes
``None``, because a missing `/proc` or a broken git must never cost a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

__all__ = ["collect_provenance", "git_diff"]

_T = TypeVar("_T")

GIT_TIMEOUT = 10.0  # seconds, for each call
MAX_DIFF_BYTES = 10 * 1024 * 1024
MAX_UNTRACKED = 200
_MAX_STATUS_BYTES = 8 * 1024 * 1024

THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)
ENVIRONMENT_ALLOWED = (
    *("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "CUDA_VISIBLE_DEVICES", "PYTHONHASHSEED"),
    *("CONDA_DEFAULT_ENV", "VIRTUAL_ENV", "CI", "LANG", "TZ", *THREAD_VARIABLES),
)

# Of the GIT_* variables only those that say where configuration and programs are may pass. The others
# (GIT_DIR, GIT_INDEX_FILE, … as set inside a git hook) would make git answer for another repository,
# and some (GIT_EXTERNAL_DIFF) would make it run programs.
_GIT_KEPT = re.compile(r"GIT_(CONFIG.*|EXEC_PATH|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM)")


def collect_provenance(
    *, rootdir: Path, argv: Sequence[str], exclude: Path | None = None
) -> dict[str, object]:
    """Describe the code, the machine and the software that an invocation runs with.

    The result is strict JSON (no NaN, no lone surrogates) and has always the same keys. What cannot be
    found out is ``None``. The user's name is not recorded, and environment variables only by an
    allow-list. `argv` is recorded as given: masking secrets in it is the caller's business.

    :param rootdir: the folder whose git repository is described.
    :param argv: the command line.
    :param exclude: a folder (the archive root) left out of the list of untracked files and of `dirty`.
    """
    git, git_error = _attempt(lambda: _git_state(rootdir, exclude)) or (None, "git could not be asked")
    found: dict[str, object] = {
        "git": git,
        "git_error": git_error,
        "argv": [str(argument) for argument in argv],
        "cwd": _attempt(os.getcwd),  # fails when the folder was deleted
        "hostname": _attempt(socket.gethostname),
        "cpu": _attempt(_cpu),
        "memory_bytes": _attempt(lambda: os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        "gpus": _attempt(_gpus),
        "os": _attempt(_operating_system),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "prefix": sys.prefix,
        },
        "distributions": _attempt(_distributions),
        "threads": {name: os.environ.get(name) for name in THREAD_VARIABLES},
        "environment": {name: os.environ[name] for name in ENVIRONMENT_ALLOWED if name in os.environ},
        "boot_id": _attempt(lambda: Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()),
        "time_zone": _attempt(_time_zone),
    }
    cleaned = _encodable(found)
    assert isinstance(cleaned, dict)
    return cleaned


def git_diff(
    rootdir: Path, *, max_bytes: int = MAX_DIFF_BYTES, exclude: Path | None = None
) -> tuple[bytes, bool] | None:
    """Return the diff of all tracked files of the repository around `rootdir` against HEAD.

    The diff covers the whole repository, staged and unstaged, binary files included, and can be given to
    ``git apply``. In a repository without a commit it is taken against the empty tree. Changes inside of
    submodules show only as a changed or dirty submodule commit.

    :param max_bytes: bytes kept at most.
    :param exclude: a folder (the archive root) that is left out.
    :returns: the diff and whether it is cut (at `max_bytes`, or because git took longer than 10 s);
        ``None`` when there is no repository, no work tree, no git, or git refuses to answer.
    """
    return _attempt(lambda: _diff(rootdir, max_bytes, exclude))


# --- git ---------------------------------------------------------------------------------------------


def _diff(rootdir: Path, max_bytes: int, exclude: Path | None) -> tuple[bytes, bool] | None:
    top, _ = _toplevel(rootdir)
    if top is None:
        return None
    head = _run_git(rootdir, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head is None:
        return None
    base = "HEAD"
    if head.code != 0:
        # hash-object knows the name of the empty tree for SHA-1 and SHA-256 repositories alike
        empty = _run_git(rootdir, "hash-object", "-t", "tree", "--stdin")
        if empty is None or empty.code != 0:
            return None
        base = empty.text.strip()
    answer = _run_git(
        rootdir,
        "diff",
        # Options against the user's configuration, so that the diff can be applied; and no program of
        # the repository's choice is run to make it
        *("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--binary"),
        *("--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--full-index"),
        base,
        *_pathspec(top, exclude),
        max_bytes=max_bytes,
    )
    if answer is None or (answer.code != 0 and not answer.cut):
        return None
    return answer.out, answer.cut


@dataclass(frozen=True)
class _Answer:
    code: int
    out: bytes
    error: str
    cut: bool  # output is incomplete: too long, or too late

    @property
    def text(self) -> str:
        return os.fsdecode(self.out)


def _run_git(cwd: Path, *arguments: str, max_bytes: int = _MAX_STATUS_BYTES) -> _Answer | None:
    """Run git; ``None`` when it cannot be started."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("GIT_") or _GIT_KEPT.fullmatch(n)}
    # No optional locks: `git status` must not write the index of somebody who commits at this moment.
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    environment |= {"LC_ALL": "C", "GIT_PAGER": "cat"}
    # diff.relative as a setting: its option --no-relative came only with git 2.28
    settings = ("-c", "core.fsmonitor=", "-c", "core.quotePath=false", "-c", "diff.relative=false")
    with tempfile.TemporaryFile() as errors:  # a file cannot fill up and block git as a pipe can
        try:
            process = subprocess.Popen(
                ["git", *settings, *arguments],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # so that filters started by git can be ended with it
            )
        except (OSError, ValueError):
            return None
        started = time.monotonic()
        timer = threading.Timer(GIT_TIMEOUT, _kill, [process])
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            with process.stdout as pipe:
                out = pipe.read(max_bytes + 1)
            if len(out) > max_bytes:
                _kill(process)
            code = process.wait()
            cut = len(out) > max_bytes or time.monotonic() - started >= GIT_TIMEOUT
        except BaseException:  # Ctrl-C: do not leave git behind
            _kill(process)
            process.wait()
            raise
        finally:
            timer.cancel()
        errors.seek(0)
        message = errors.read(4096).decode("utf-8", "replace").strip()
    return _Answer(code, out[:max_bytes], message, cut)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:  # not waited for yet, so the id cannot belong to somebody else
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)  # on SIGKILL git would leave an index.lock behind


def _toplevel(rootdir: Path) -> tuple[Path | None, str | None]:
    """Return the root of the work tree, or why there is none that the user should hear of."""
    answer = _run_git(rootdir, "rev-parse", "--show-toplevel")
    if answer is None:
        return None, "git cannot be run"
    top = answer.text.removesuffix("\n")
    if answer.code == 0 and top:
        return Path(top), None
    if answer.cut:
        return None, f"git took longer than {GIT_TIMEOUT:g} s"
    # Without a repository, in a bare one and inside of .git there is just nothing to say; all else
    # ("detected dubious ownership …") the user wants to know.
    if "not a git repository" in answer.error or "must be run in a work tree" in answer.error:
        return None, None
    return None, answer.error.partition("\n")[0] or "git gave no answer"


def _pathspec(top: Path, exclude: Path | None) -> list[str]:
    if exclude is None:
        return []
    try:
        inside = exclude.resolve().relative_to(top.resolve())
    except (OSError, ValueError):
        return []
    if inside == Path():
        return []  # everything would be excluded
    return ["--", ":(top)", f":(top,exclude,literal){inside.as_posix()}"]


def _git_state(rootdir: Path, exclude: Path | None) -> tuple[dict[str, object] | None, str | None]:
    top, error = _toplevel(rootdir)
    if top is None:
        return None, error
    state: dict[str, object] = dict.fromkeys(("commit", "branch", "dirty", "untracked", "untracked_count"))
    # The caller that saves git_diff puts the file's name under "diff"
    state |= {"diff": None, "root": str(top)}
    answer = _run_git(
        rootdir,
        *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal"),
        *("--no-renames", "--no-ahead-behind"),
        *_pathspec(top, exclude),
    )
    if answer is None or answer.code != 0 or answer.cut:
        # A work tree too large to look through still has a commit
        head = _run_git(rootdir, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        state["commit"] = head.text.strip() or None if head is not None else None
        reason = "was cut" if answer is None or answer.cut else answer.error.partition("\n")[0]
        return state, f"git status: {reason}"
    dirty = False
    untracked: list[str] = []
    for entry in answer.text.split("\0"):
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            if key == "branch.oid":
                state["commit"] = None if value == "(initial)" else value
            elif key == "branch.head":
                state["branch"] = None if value == "(detached)" else value
        elif kind == "?":
            untracked.append(rest)
        elif kind in ("1", "2", "u"):
            dirty = True
    state |= {"dirty": dirty, "untracked": sorted(untracked)[:MAX_UNTRACKED]}
    return state | {"untracked_count": len(untracked)}, None


# --- the machine -------------------------------------------------------------------------------------


def _cpu() -> dict[str, object]:
    affinity = _attempt(lambda: sorted(os.sched_getaffinity(0)))  # not on macOS
    return {"model": _cpu_model(), "logical": os.cpu_count(), "affinity": affinity}


def _cpu_model() -> str | None:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:  # stops at the first: on large machines the whole file takes a while
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model", "Hardware") and value.strip():
                return value.strip()
    # platform.processor() would start a process
    return platform.machine() or None


def _gpus() -> list[dict[str, object]]:
    gpus: list[dict[str, object]] = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        fields = _fields(_attempt(partial(file.read_text, "utf-8", "replace")) or "")
        gpus.append({"model": fields.get("Model"), "uuid": fields.get("GPU UUID"), "bus": file.parent.name})
    if gpus:
        return gpus
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    # Only where the user's code has started CUDA already: asking for properties would start it, which
    # takes device memory and breaks a later fork.
    if cuda is not None and cuda.is_initialized():
        for index in range(int(cuda.device_count())):
            properties = cuda.get_device_properties(index)
            gpus.append({"model": str(properties.name), "memory_bytes": int(properties.total_memory)})
    return gpus


def _operating_system() -> dict[str, object]:
    release = _attempt(platform.freedesktop_os_release) or {}
    about = {"system": platform.system(), "release": platform.release(), "version": platform.version()}
    return {**about, "machine": platform.machine(), "name": release.get("PRETTY_NAME")}


def _time_zone() -> dict[str, object]:
    now = time.localtime()
    system = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    name = os.environ.get("TZ") or system or None
    return {"name": name, "abbreviation": now.tm_zone, "utc_offset_s": now.tm_gmtoff}


# --- installed distributions -------------------------------------------------------------------------


def _distributions() -> list[dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for folder in sys.path:
        for key, entry in _distributions_in(folder, _modified(folder or ".")):
            found.setdefault(key, entry)  # the first on sys.path is the one that is imported
    return [found[key] for key in sorted(found)]


def _modified(folder: str) -> int | None:
    return _attempt(lambda: os.stat(folder).st_mtime_ns)


@lru_cache(maxsize=64)  # a process may have many invocations, and an environment hundreds of distributions
def _distributions_in(folder: str, modified: int | None) -> list[tuple[str, dict[str, object]]]:
    """The distributions of an entry of ``sys.path``, which installing and removing them modifies."""
    import importlib.metadata

    found: list[tuple[str, dict[str, object]]] = []
    for distribution in importlib.metadata.distributions(path=[folder]):
        # A broken installation costs its entry, not the list
        entry = _attempt(partial(_distribution, distribution.read_text))
        if entry is not None:
            found.append((re.sub(r"[-_.]+", "-", str(entry["name"])).lower(), entry))
    return found


def _distribution(read: Callable[[str], str | None]) -> dict[str, object] | None:
    # The header is read by hand: .metadata parses the whole README with it, five times slower.
    text = read("METADATA") or read("PKG-INFO") or read("") or ""
    header = _fields(re.split(r"\r?\n\r?\n", text, maxsplit=1)[0])
    name = header.get("Name")
    if not name:
        return None
    entry: dict[str, object] = {"name": name, "version": header.get("Version")}
    # Read by hand: Distribution.origin is there only since Python 3.13.
    direct = _attempt(lambda: json.loads(read("direct_url.json") or "null"))
    if isinstance(direct, dict) and (origin := _origin(direct)):
        entry["origin"] = origin
    return entry


def _origin(direct: dict[str, object]) -> dict[str, object]:
    """Say where a distribution came from, after the PyPA specification "Direct URL Data Structure"."""
    origin: dict[str, object] = {}
    if isinstance(url := direct.get("url"), str):
        origin["url"] = _without_credentials(url)
    if isinstance(folder := direct.get("dir_info"), dict) and folder.get("editable") is True:
        origin["editable"] = True
    if isinstance(vcs := direct.get("vcs_info"), dict):
        origin |= {"vcs": str(vcs.get("vcs")), "commit": str(vcs.get("commit_id"))}
    if isinstance(archive := direct.get("archive_info"), dict) and isinstance(archive.get("hashes"), dict):
        origin["hashes"] = {str(kind): str(value) for kind, value in archive["hashes"].items()}
    if isinstance(subdirectory := direct.get("subdirectory"), str):
        origin["subdirectory"] = subdirectory
    return origin


def _without_credentials(url: str) -> str:
    """Drop user, password, query and fragment of a URL, also of the scp form ``user@host:path``.

    A user name alone may be a token, and a query may hold a signature. Only ``git@`` is harmless.
    """
    anonymous = re.sub(r"^([A-Za-z][\w+.-]*://)?(?!git@)[^/]*@", r"\1", url)
    return re.split(r"[?#]", anonymous, maxsplit=1)[0]


def _attempt(function: Callable[[], _T]) -> _T | None:
    try:
        return function()
    except Exception:  # of whatever kind: provenance is never worth a run
        return None


def _fields(text: str) -> dict[str, str]:
    """Read lines of `key: value`; of equal keys the first counts."""
    pairs = [line.partition(":") for line in text.splitlines()]
    return {key.strip(): value.strip() for key, _, value in reversed(pairs)}


def _encodable(value: object) -> object:
    """Replace what UTF-8 cannot encode (file names of other encodings) by a backslash form."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value
