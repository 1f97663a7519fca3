"""Special variables: what an experiment file says of the way in which it is to be run."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from expedition.authoring.lineage import Lineage
from expedition.authoring.names import check_prefix
from expedition.authoring.specs import SPECIAL
from expedition.errors import ExperimentError

_TYPES: dict[str, tuple[type, ...]] = {
    "__DEBUG__": (bool,),
    "__TESTING__": (bool,),
    "__CACHING__": (bool,),
    "__REPRODUCIBLE__": (bool,),
    "__PREFIX__": (str,),
    "__VERSION__": (str, int),
}
_LIKE_ONE = re.compile(r"__[A-Z]+(_[A-Z]+)*__\Z")


@dataclass(frozen=True)
class Special:
    """How an experiment is to be run.

    Attributes
    ----------
    debug : into one folder that the next such run replaces. testing : with the values of testing mode.
    caching : whether results may be taken from the cache and put there. prefix : a word in the name of the sweep
    folder. version : that of the experiment, as its author counts.
    """

    debug: bool = False
    testing: bool = False
    caching: bool = True
    prefix: str = ""
    version: str = ""


def special_of(
    lineage: Lineage,
    *,
    debug: bool = False,
    testing: bool = False,
    caching: bool = True,
    prefix: str | None = None,
) -> Special:
    """Return what the files of an experiment say, and options, which go before them.

    Raises `ExperimentError` for a value of another type, and for a name that looks like a special variable.
    """
    _check_names(lineage)
    found: dict[str, Any] = {name: _value(lineage, name) for name in _TYPES}
    if found["__REPRODUCIBLE__"]:
        raise ExperimentError(
            f"{lineage.own.label}: __REPRODUCIBLE__: archives from which a run can be done again elsewhere are not "
            f"made yet; leave it out (versions of all distributions, sources and the git diff are recorded in any case)"
        )
    word = prefix if prefix is not None else found["__PREFIX__"] or ""
    try:
        check_prefix(word)
    except ExperimentError as error:
        raise ExperimentError(f"{lineage.own.label}: __PREFIX__: {error}") from None
    testing = testing or bool(found["__TESTING__"])
    version = found["__VERSION__"]
    return Special(
        debug=debug or bool(found["__DEBUG__"]),
        testing=testing,
        # What testing mode computes is not to be taken for the real thing.
        caching=caching and found["__CACHING__"] is not False and not testing,
        prefix=word,
        version="" if version is None else str(version),
    )


def _value(lineage: Lineage, name: str) -> Any:
    value = lineage.special(name)
    if value is None or type(value) in _TYPES[name]:
        return value
    expected = " or ".join(kind.__name__ for kind in _TYPES[name])
    raise ExperimentError(
        f"{lineage.own.label}: {name} must be {expected}, but got {value!r} ({type(value).__name__})"
    )


def _check_names(lineage: Lineage) -> None:
    for source in lineage.sources:
        for name in source.module:
            if _LIKE_ONE.match(name) and name not in SPECIAL:
                near = difflib.get_close_matches(name, SPECIAL, n=1, cutoff=0.8)
                if near:
                    raise ExperimentError(
                        f"{source.path.name}: {name} is no special variable (did you mean {near[0]!r}?); there are "
                        f"{', '.join(SPECIAL)}"
                    )
