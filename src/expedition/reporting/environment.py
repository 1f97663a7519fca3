"""What a run found around it, by names: programs and their versions, machine, command, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from expedition.reporting.run_contents import RunContents

__all__ = ["environment_of"]


def environment_of(contents: RunContents) -> dict[str, Any]:
    """Return what was recorded of the environment of a run, as texts and numbers by name.

    What changes from run to run and means nothing besides, such as the number of a process, is not in it.
    """
    return {name: value for name, value in _facts(contents) if value is not None}


def _facts(contents: RunContents) -> Iterator[tuple[str, Any]]:
    process, versions = contents.record.meta["process"], contents.record.meta.get("versions")
    sweep = contents.provenance
    versions = versions if isinstance(versions, Mapping) else {}
    yield "host", process.get("host")
    yield "python", versions.get("python") or _member(sweep, "python", "version")
    for name in ("implementation", "executable", "prefix"):
        yield f"python {name}", _member(sweep, "python", name)
    packages = dict(_packages(sweep.get("distributions")))
    for name, version in versions.items():
        if name != "python" and name not in packages and f"pytest-{name}" not in packages:
            packages[str(name)] = str(version)
    for name in sorted(packages):
        yield f"package {name}", packages[name]
    for name in ("name", "system", "release", "version", "machine"):
        yield f"system {name}" if name != "name" else "system", _member(sweep, "os", name)
    for name in ("model", "logical", "affinity"):
        yield f"cpu {name}", _plain(_member(sweep, "cpu", name))
    yield "memory", sweep.get("memory_bytes")
    gpus = sweep.get("gpus")
    yield "gpus", [str(gpu) for gpu in gpus] if isinstance(gpus, list) and gpus else None
    for what, title in (("threads", "threads"), ("environment", "variable"), ("time_zone", "time zone")):
        found = sweep.get(what)
        for name, value in found.items() if isinstance(found, Mapping) else ():
            yield f"{title} {name}", _plain(value)
    yield from _git(sweep.get("git"))
    argv = sweep.get("argv")
    yield "command", " ".join(map(str, argv)) if isinstance(argv, list) else None
    yield "working folder", sweep.get("cwd")
    for name, value in contents.options.items():
        yield f"option {name}", _plain(value)


def _git(git: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(git, Mapping):
        return
    for name in ("commit", "branch", "root"):
        yield f"git {name}", git.get(name)
    yield "git uncommitted changes", True if git.get("dirty") else None
    untracked = git.get("untracked")
    if isinstance(untracked, list) and untracked:
        yield "git untracked", ", ".join(map(str, untracked))


def _packages(distributions: Any) -> Iterator[tuple[str, str]]:
    for about in distributions if isinstance(distributions, list) else ():
        if not isinstance(about, Mapping) or not about.get("name"):
            continue
        name = re.sub(r"[-_.]+", "-", str(about["name"])).lower()
        origin = about.get("origin")
        told = ""
        if isinstance(origin, Mapping):
            told = " from " + " ".join(str(origin[key]) for key in ("url", "commit") if origin.get(key))
        yield name, f"{about.get('version')}{told}"


def _member(content: Mapping[str, Any], branch: str, name: str) -> Any:
    found = content.get(branch)
    return found.get(name) if isinstance(found, Mapping) else None


def _plain(value: Any) -> Any:
    """A value of JSON as a text where it is no text or number."""
    if isinstance(value, list | dict):
        from expedition.values import dumps

        return dumps(value)
    return value
