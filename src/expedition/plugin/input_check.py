"""Recorded inputs compared to what is there now: files, folders, past runs, and what these were found by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from expedition.archive.meta_file import load_meta
from expedition.archive.past_query import PastQuery, hash_of
from expedition.archive.results import ResultFinder
from expedition.errors import DamagedError, ExpeditionError, ExperimentError, RecordNotFoundError
from expedition.plugin.child_code import describe_code
from expedition.recording.inputs import CODE, QUERY, RUN, InputFiles, query_text

_SHORT = 12


class InputCheck:
    """Tells what of recorded inputs is another by now.

    `archive` is the archive root, and `files` finds those below the folder of the project. With `is_still` both
    count as unchanged since the first question, so that of many runs with the same inputs each is looked at once.
    """

    def __init__(self, archive: Path, files: InputFiles, *, is_still: bool) -> None:
        self._archive = archive
        self._files = files
        self._finder = ResultFinder(archive, is_still=is_still)
        self._now, self._past, self._found = self._described, self._past_run, self._folders
        if is_still:
            self._now = lru_cache(maxsize=None)(self._described)
            self._past = lru_cache(maxsize=100_000)(self._past_run)
            self._found = lru_cache(maxsize=None)(self._folders)

    def changes(
        self, inputs: Sequence[Mapping[str, Any]], *, since: int, besides: Path, ignore_code: bool = False
    ) -> tuple[tuple[str, ...], set[str]]:
        """Return what has changed, a text for each, and what is not there any more.

        `since` is when they were read, in µs since the epoch; `besides` the sweep folder that asked for past runs. With
        `ignore_code` files of code count as unchanged.
        """
        texts: list[str] = []
        queries: list[Mapping[str, Any]] = []
        files: set[str] = set()
        runs: set[str] = set()
        for one in inputs:
            if one.get("kind") == QUERY:
                queries.append(one)
            elif one.get("kind") == RUN:
                texts.append(self._changed_run(one, since, runs))
            elif one.get("kind") != CODE or not ignore_code:
                texts.append(self._changed_file(one, files))
        # Where runs that were read are gone, the answer is what is left, or an older sweep: none to run anything for.
        if not runs:
            texts += [self._changed_query(one, inputs, besides, runs) for one in queries]
        return tuple(text for text in texts if text), files | runs

    def _changed_file(self, one: Mapping[str, Any], gone: set[str]) -> str:
        place = str(one.get("path", ""))
        now = self._now(place, one.get("kind") == CODE)
        if now is None:
            gone.add(place)
            return ""
        if now["sha256"] == one.get("sha256") and now["kind"] == one.get("kind"):
            return ""
        if one.get("kind") == CODE:
            return f"{place}, code of a child, was {_short(one)}, is {_short(now)}"
        return f"input {place} was {_short(one)} ({one.get('size')} bytes), is {_short(now)} ({now['size']} bytes)"

    def _described(self, place: str, is_code: bool) -> dict[str, Any] | None:
        path = self._files.place_of(place)
        try:
            if not path.exists():
                return None
            return describe_code(path, self._files.root) if is_code else self._files.describe(path)
        except (OSError, ExperimentError):
            return None

    def _changed_run(self, one: Mapping[str, Any], since: int, gone: set[str]) -> str:
        folder = str(one.get("folder", ""))
        now = self._past(folder)
        if now is None:
            gone.add(f"runs of {Path(folder).parent.as_posix()}")
            return ""
        attempt, start, edited = now
        if "attempt" in one and (one["attempt"], one.get("start")) != (attempt, start):
            return f"the run {folder}, which was read, was run again (attempt {attempt + 1})"
        if edited > since:
            return f"the run {folder}, which was read, was edited"
        return ""

    def _past_run(self, folder: str) -> tuple[int, str, int] | None:
        """Attempt and start of a run of the archive, and when it was last edited; None where it is gone."""
        from expedition.archive.recovery import microseconds

        place = self._archive / folder
        if ".." in Path(folder).parts or not place.is_relative_to(self._archive):
            return None
        try:
            meta = load_meta(place)
        except (DamagedError, FileNotFoundError):
            return None
        edits = [str(edit.get("time")) for edit in meta.get("edits", ()) if isinstance(edit, dict)]
        try:
            last = max((microseconds(time) for time in edits), default=0)
        except ValueError:
            last = 0
        return int(meta.get("attempt", 0)), str(meta.get("start", "")), last

    def _changed_query(
        self, one: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]], besides: Path, gone: set[str]
    ) -> str:
        """What is found now when the question is asked again, empty where these are the runs that were found."""
        query, number = PastQuery.of(one), one.get("runs")
        if query is None or not isinstance(number, int):
            return ""
        found = self._found(query, besides)
        if found is None:
            gone.add(query_text(one))
            return ""
        now, content = found
        if content == one.get("sha256"):
            return ""
        new = now - {str(other.get("folder", "")) for other in inputs if other.get("kind") == RUN}
        if not new and len(now) < number:
            return ""  # those that were read are no whole sweep now, or said of each to be run again
        first = min(new or now)
        return f"{query_text(one)} found {number} runs, finds {len(now)}, such as {first}"

    def _folders(self, query: PastQuery, besides: Path) -> tuple[frozenset[str], str] | None:
        """The folders of the runs that a question finds, and their hash; None where it cannot be answered."""
        try:
            rows = query.ask(self._finder, besides=besides).rows()
        except RecordNotFoundError:
            rows = []
        except (ExpeditionError, OSError):
            return None
        folders = frozenset(row.path.relative_to(self._archive).as_posix() for row in rows)
        return folders, hash_of(folders)


def _short(one: Mapping[str, Any]) -> str:
    return str(one.get("sha256", ""))[:_SHORT]
