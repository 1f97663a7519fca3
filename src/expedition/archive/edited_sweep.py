"""A sweep some of whose runs had their parameters edited: its design, as the records have it now."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from expedition.archive.sweep import DescribedSweep, RunEntry, SweepFolder
from expedition.values import dumps


class EditedSweep(DescribedSweep):
    """A sweep folder with parameters as they were edited, which the manifest does not know.

    A parameter that was edited counts as swept when its values differ now; one that no run has any more is left
    out.
    """

    @classmethod
    def of(cls, sweep: SweepFolder, edited: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> EditedSweep:
        """Make the sweep; `edited` are by index all parameters of edited runs, as in their meta files."""
        manifest = {name: member for name, member in sweep.manifest.items() if name != "grid"}
        made = cls(sweep.path, manifest)
        known = sweep.parameters
        declared = dict(known)
        for about in edited.values():
            for name, parameter in about.items():
                if name not in declared:
                    declared[name] = {key: text for key, text in parameter.items() if key != "value"}
        entries = list(sweep.entries)
        touched: dict[str, None] = {}
        for index, about in edited.items():
            before = sweep.parameters_of(entries[index])
            params = {name: parameter["value"] for name, parameter in about.items()}
            same = {n for n in before.keys() & params.keys() if dumps(before[n]) == dumps(params[n])}
            touched |= dict.fromkeys(name for name in {**before, **params} if name not in same)
            absent = tuple(name for name in known if name not in params)
            entries[index] = dataclasses.replace(entries[index], params=params, absent=absent)
        swept = set(sweep.swept)
        for name in touched:
            values = {dumps(v) for entry in entries if (v := _value(entry, name, declared)) is not _NOTHING}
            if not values:
                del declared[name]
                swept.discard(name)
            elif len(values) > 1:
                swept.add(name)
        first = [name for name in sweep.swept if name in swept]
        made.__dict__.update(
            entries=entries,
            _parameters={n: {**about, "swept": n in swept} for n, about in declared.items()},
            _swept=first + [name for name in declared if name in swept and name not in first],
        )
        return made


_NOTHING: Any = object()


def _value(entry: RunEntry, name: str, declared: Mapping[str, Mapping[str, Any]]) -> Any:
    if name in entry.params:
        return entry.params[name]
    return declared[name].get("value", _NOTHING) if name not in entry.absent else _NOTHING
