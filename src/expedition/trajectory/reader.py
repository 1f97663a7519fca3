"""Opens trajectories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from keyword import iskeyword
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from expedition.archive.bundle import sweep_on_disk
from expedition.archive.expansions import expand
from expedition.archive.record import RunRecord, summary_of
from expedition.archive.sweep import SweepFolder
from expedition.errors import AmbiguousNameError, ExperimentError, NameNotFoundError, NoteError, near_matches
from expedition.recording import layout
from expedition.trajectory.copies import Compacted, backup, compact
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.notes import add_note, is_plain_text
from expedition.trajectory.file.noting import rewrite_notes
from expedition.trajectory.file.store import Store
from expedition.trajectory.merge_files import merge_files, sweeps_of
from expedition.trajectory.reading.run_field import FIELDS
from expedition.trajectory.reading.run_set import RunSet
from expedition.trajectory.reading.tree import build_tree, lookup, resolve

if TYPE_CHECKING:
    from expedition.authoring.design import Design


class Trajectory(RunSet):
    """All runs of a sweep: columns by natural naming, runs by number, key or id, search and tables.

    ``traj.res.rmse.mean`` is a lazy column, ``traj[3]`` a run, ``traj.select("alpha < 1")`` a view of some
    runs. The file is opened read-only and never locks out the sweep that writes the next one; `refresh`
    opens that.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store, build_tree(store.schema, str(store.path), store.notes), None)

    @classmethod
    def open(cls, path: Path | str) -> Trajectory:
        """Open a trajectory file, or that of a sweep folder, which may be in a zip: ``a.zip/results/exp/…``.

        Raises `RecordNotFoundError` when there is none, `TrajectoryFormatError` when it is damaged, foreign
        or of a newer format.
        """
        place = sweep_on_disk(path)
        store = Store(place)
        store.holder = place
        return cls(store)

    def _title(self) -> str:
        return f"Trajectory {str(self.path)!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; columns and runs taken from it can no longer be read."""
        self._store.close()

    def refresh(self) -> bool:
        """Open the file again when it was replaced; return whether it was.

        Selections made before keep their runs, for rows are never reassigned, and columns show what is in the
        file now.
        """
        if self._store.is_open and not self._store.is_replaced():
            return False
        self._store.open()
        self._tree.become(build_tree(self._store.schema, str(self._store.path), self._store.notes))
        return True

    def verify(self) -> None:
        """Read the file at `path` once, in blocks, and compare it with the checksum that it was written with.

        Raises `TrajectoryFormatError` when it is not what was written, and for a file without a checksum.
        """
        self._store.verify()

    # what is added to a sweep ------------------------------------------------------------------------------

    @property
    def summary(self) -> RunRecord | None:
        """What the experiment's ``after_sweep`` function recorded for the sweep as a whole, None without one."""
        return summary_of(self._store.root) if self._store.is_of_sweep else None

    def expand(self, design: Design | Iterable[Mapping[str, Any]]) -> int:
        """Add points to the sweep that this is the trajectory of; return how many new runs that makes.

        `design` is one of `expedition.sweeps`, or a list of dicts; points that are there already are left out.
        The runs are run, and get their rows, when the sweep is resumed (``pytest --experiments … --resume``);
        the rows that there are never change.

        Raises `ExperimentError` for a name that is no parameter of the experiment (with near matches), a value
        of another type than it declares, or a trajectory that does not stand in a sweep folder.
        """
        if not self._store.is_of_sweep:
            raise ExperimentError(
                f"{self.path} stands in no sweep folder, and only a sweep can be expanded; open the trajectory of "
                f"the sweep itself"
            )
        return expand(SweepFolder.open(self._store.root), design, by="Trajectory.expand")

    @property
    def links(self) -> dict[str, str]:
        """Where links lead, by name."""
        return dict(self._tree.links)

    def annotate(self, path: str, *, comment: str | None = None, unit: str | None = None) -> None:
        """Say what a column or group is, and in which unit; an empty text takes back what was said.

        It goes before what runs say, and later compilations of the sweep have it too: it is kept beside the
        trajectory, or in a file of its own in that file, of which a new copy takes its place.

        Raises `NameNotFoundError` with near matches.
        """
        said = {name: text for name, text in (("comment", comment), ("unit", unit)) if text is not None}
        if not said or not all(map(is_plain_text, said.values())):
            raise NoteError(
                f"annotate({path!r}) needs a text as comment=…, unit=… or both (UTF-8 without NUL), but got {said}"
            )
        node = resolve(self._tree, path)
        self._note({"e": "annotate", "path": node.path, **said})

    def link(self, name: str, target: str) -> None:
        """Give a column or group a second name: ``traj.link("best", "results/rmse/mean")`` makes ``traj.best``.

        Iteration does not meet it. It is kept as `annotate` says.

        Raises `NameNotFoundError` with near matches when the target is not there, `NoteError` for a name that
        is no identifier or means something already.
        """
        node = resolve(self._tree, target)
        self._check_link(name)
        if self._tree.links.get(name) != node.path:
            self._note({"e": "link", "name": name, "target": node.path})

    def unlink(self, name: str) -> None:
        """Remove a link. Raises `NameNotFoundError` with near matches."""
        links = self._tree.links
        if name not in links:
            raise NameNotFoundError(
                f"{self.path} has no link {name!r}{near_matches(str(name), links)}; "
                f"links: {', '.join(links) or 'none'}"
            )
        self._note({"e": "unlink", "name": name})

    def _check_link(self, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or iskeyword(name):
            raise NoteError(f"a link needs a name that can be written as traj.name, not {name!r}")
        if name in self._tree.links:
            return
        taken = hasattr(type(self), name) or name in fmt.ABBREVIATIONS or name in FIELDS
        try:
            found = lookup(self._tree, name)
        except AmbiguousNameError as error:
            raise NoteError(f"a link must not hide what is there: {error}") from None
        if taken or found is not None:
            what = repr(found.path) if found is not None else "of this class or of the runs"
            raise NoteError(
                f"a link must not hide what is there: {name!r} is {what} already; take another name"
            )

    def _note(self, event: dict[str, Any]) -> None:
        store = self._store
        _ = store.file  # a closed trajectory takes no notes
        if event.get("e") == "link" and event["name"] in self._tree.links:
            raise NoteError(
                f"{event['name']!r} is a link to {self._tree.links[event['name']]!r}; remove it first with "
                f"unlink({event['name']!r})"
            )
        if store.is_of_sweep:
            add_note(store.root, event)
        else:
            rewrite_notes(store.path, [event])
        self.refresh()

    # whole files -------------------------------------------------------------------------------------------

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The sweeps that a merged trajectory is made of, in the order of ``runs.origin``; else an empty list.

        Each has the `path` of its trajectory relative to this file, `sweep_id`, `experiment`, `n_runs`, `created`
        and, where its trials were shifted, `shift` by parameter.
        """
        return [dict(source) for source in self._store.sources]

    def merge(
        self,
        *others: Path | str | RunSet,
        to: Path | str,
        remove_duplicates: bool = True,
        trial: str | None = None,
        fill: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> Trajectory:
        """Write the runs of this trajectory and others to the new file `to`, and open that; see `merge`."""
        return merge(
            self,
            *others,
            to=to,
            remove_duplicates=remove_duplicates,
            trial=trial,
            fill=fill,
            overwrite=overwrite,
        )

    def backup(self, path: Path | str | None = None) -> Path:
        """Copy the file, as it is on the disk now, beside itself or to `path`; return the path of the copy.

        Raises `OutputExistsError` when there is a file already.
        """
        return backup(self.path, path)

    def compact(self, path: Path | str | None = None, *, drop: str | Iterable[str] = ()) -> Compacted:
        """Rewrite the file without lost space, in place or to `path`; return its bytes before and after.

        `drop` names columns or groups to leave out. In place the file is replaced, when that makes it smaller,
        and opened again. Raises what `compact` raises.
        """
        sizes = compact(self.path, path, drop=drop)
        if self._store.is_open:
            self.refresh()
        return sizes


def merge(
    *trajectories: Path | str | RunSet,
    to: Path | str,
    remove_duplicates: bool = True,
    trial: str | None = None,
    fill: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Trajectory:
    """Write the runs of trajectories of one experiment to the new file `to`, and open that.

    Parameters
    ----------
    trajectories : files, sweep folders, open trajectories or selections of their runs. They are only read.
    to : the merged file; it appears when it is whole. Its folder is made.
    remove_duplicates : keep one of the runs that have the same key, at the place of the first: a settled one
        (done, skipped, pruned) before others, then the one that stopped last, then that of the first trajectory.
        With false all rows stay.
    trial : name of an integer parameter (or ``"replicate"``) that counts 0, 1, 2 … in every trajectory. Those of
        later trajectories go on where the earlier ones end, and no run counts as a duplicate.
    fill : values of parameters that some of the trajectories lack, because they were added to the experiment
        later.
    overwrite : replace a file that is there.

    Rows stand in the order of the trajectories. Values keep their value and type; a column has the type that all
    of its cells have. Parameters that are fixed but differ count as swept. ``runs.origin`` is the number of the
    sweep that a run comes from, in the order of `Trajectory.sources`, ``runs.origin_index`` its row there. Files
    of runs stay in their run folders, which are found as long as neither they nor the merged file are moved
    away from each other. Where comments or units differ, the last counts, with a warning.

    Raises `MergeError` when the trajectories are of other experiments or have other parameters or declared
    types, and when trials cannot be shifted; `OutputExistsError` when there is a file `to`; and what
    `Trajectory.open` raises.
    """
    path = merge_files(
        trajectories, to, remove_duplicates=remove_duplicates, trial=trial, fill=fill, overwrite=overwrite
    )
    return Trajectory.open(path)


def merge_folder(
    folder: Path | str,
    to: Path | str | None = None,
    *,
    remove_duplicates: bool = True,
    trial: str | None = None,
    fill: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Trajectory:
    """Merge all sweeps in the folder of a namespace (``results/exp_ridge``), oldest first; see `merge`.

    Without `to` the file is ``trajectory.h5`` in that folder, so that ``Trajectory.open(folder)`` opens it.
    Raises also `RecordNotFoundError` when there is no sweep, or one without a trajectory.
    """
    target = Path(folder) / layout.TRAJECTORY_FILE if to is None else to
    return merge(
        *sweeps_of(folder),
        to=target,
        remove_duplicates=remove_duplicates,
        trial=trial,
        fill=fill,
        overwrite=overwrite,
    )
