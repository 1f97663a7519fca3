"""Resolution: which parameters an experiment has, what each is worth, and over what it sweeps.

The files of its lineage speak in turn, from the root of what it extends to its own. Each may give values, a new
sweep, and `INHERIT` what those before it said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from expedition.authoring.design import RESERVED_NAMES, Design
from expedition.authoring.inherit import Inherit
from expedition.authoring.interpolation import Interpolated, contains_interpolated, read_inside
from expedition.authoring.lineage import CONFIG_SUFFIXES, Level, Lineage, SourceFile
from expedition.authoring.overrides import Override
from expedition.authoring.parameters import MISSING, Parameter, arguments_of, secret_names, variables_of
from expedition.authoring.specs import Written
from expedition.authoring.testing import testing_values
from expedition.errors import ExperimentError, near_matches


@dataclass
class Resolution:
    """What the files of a lineage come to.

    Attributes
    ----------
    parameters : by name, in the order in which they were met.
    fixtures : the arguments that pytest has to provide.
    opaque : UPPERCASE variables that cannot be recorded, with their type: they are no parameters.
    fixed : values of parameters that are not swept; `origins` has where the value of each is from.
    design : what is swept, without the axes in `collapsed`, which got one value after all.
    inherited : by name what INHERIT makes of the values of an axis, in turn.
    written : the config that the values of the design are from, to be typed like its other text; `place` is where
        its sweep stands.
    pinned : parameters that an option or testing mode gave a value; no point of a sweep changes them.
    """

    label: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    fixtures: tuple[str, ...] = ()
    opaque: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    design: Design | None = None
    collapsed: set[str] = field(default_factory=set)
    inherited: dict[str, list[Inherit]] = field(default_factory=dict)
    written: str = ""
    place: str = ""
    pinned: set[str] = field(default_factory=set)

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the swept parameters, outermost first."""
        names = self.design.names if self.design is not None else ()
        return tuple(name for name in names if name not in self.collapsed)

    def points(self) -> Iterator[Mapping[str, Any]]:
        """Yield the points of the design, in order, with what INHERIT makes of their values."""
        made: dict[tuple[str, int], tuple[Any, Any]] = {}
        for point in self.design if self.design is not None else ():
            if not self.inherited:
                yield point
                continue
            own = dict(point)
            for name in self.inherited:
                if name not in own:
                    continue
                # One object for all points that have it, as in the design itself; the entry keeps its id its own.
                known = made.get((name, id(own[name])))
                if known is None:
                    known = made[name, id(own[name])] = own[name], self.made_of(name, own[name])
                own[name] = known[1]
            yield own

    def made_of(self, name: str, value: Any) -> Any:
        """Return what INHERIT makes of a value of an axis."""
        for maker in self.inherited.get(name, ()):
            value = maker.of(value, name=name, experiment=self.label)
        return value

    def pin(self, name: str, value: Any, origin: str) -> None:
        """Give a parameter its value once and for all; an axis of the sweep becomes that one value."""
        self.fixed[name] = value
        self.origins[name] = origin
        self.collapsed.add(name)
        self.pinned.add(name)


def resolve(
    lineage: Lineage, *, file: str, overrides: Sequence[Override] = (), testing: bool = False
) -> Resolution:
    """Resolve the files of a lineage, and the options in `overrides`, which rank from low to high.

    `file` is the experiment file as options may name it. An option that names an experiment which is extended
    gives that one the value, of which `INHERIT` makes the own one; any other is final. With `testing` the values
    of testing mode go before all but options.

    Raises `ExperimentError`.
    """
    result = Resolution(lineage.own.label)
    _mix_in(result, lineage)
    for level in lineage.levels:
        _take(result, level, is_root=level is lineage.levels[0], is_own=level is lineage.own)
        if level is not lineage.own:
            for override in overrides:
                if override.experiment in level.names and override.name in result.parameters:
                    value = override.resolve(result.parameters[override.name], result.label)
                    _give(result, override.name, value, override.origin)
    result.fixtures = tuple(name for name in result.fixtures if name not in result.parameters)
    _check(result)
    secrets = secret_names(result.parameters)
    for name, value, origin in testing_values(lineage, result.fixed, secrets) if testing else ():
        if name not in result.parameters:
            raise ExperimentError(
                f"{result.label}: testing mode gives a value to {name!r}, which is no parameter"
                f"{near_matches(name, result.parameters)}; parameters: {', '.join(result.parameters) or 'none'}"
            )
        own = result.parameters[name]
        result.pin(name, own.check(value, origin="testing mode", experiment=result.label), origin)
    for override in overrides:
        parameter = result.parameters.get(override.name)
        if parameter is not None and override.concerns(*lineage.own_names, file):
            result.pin(override.name, override.resolve(parameter, result.label), override.origin)
    for name in result.swept:
        result.fixed.pop(name, None)
        result.origins[name] = "sweep"
        result.parameters[name] = _with_inherited_default(result, result.parameters[name])
    return result


def _with_inherited_default(result: Resolution, parameter: Parameter) -> Parameter:
    """Return a swept parameter with what INHERIT makes of its default, as of the values of its axis."""
    if parameter.default is MISSING or not result.inherited.get(parameter.name):
        return parameter
    value = result.made_of(parameter.name, parameter.default)
    value = parameter.check(value, origin="its default", experiment=result.label)
    return replace(parameter, default=value, _adapters={})


def _mix_in(result: Resolution, lineage: Lineage) -> None:
    """Take the variables of mixins: values for what no file of the lineage itself assigns."""
    for level in lineage.levels:
        for mixin in level.mixins:
            _take_variables(result, mixin, f"mixin {mixin.path.name}")


def _take(result: Resolution, level: Level, *, is_root: bool, is_own: bool) -> None:
    """Take what one file says over what was said before."""
    origin = "default" if is_own else f"base {level.source.path.name}"
    if level.source.path.suffix in CONFIG_SUFFIXES:
        origin = f"config {level.source.path.name}"
    design = level.spec.design()
    if design is not None:
        # A new sweep takes the place of the one before, whose axes go back to one value.
        result.design, result.collapsed, result.inherited = design, set(), {}
        result.written, result.place = (origin, level.spec.sweep_place) if level.spec.is_written else ("", "")
    swept = set(result.design.names) if result.design is not None else set()
    if level.spec.has_body:
        found, result.fixtures = arguments_of(
            level.function, {*swept, *level.spec.values, *result.fixed}, experiment=result.label
        )
        for name in [n for n, p in result.parameters.items() if p.kind == "argument" and n not in found]:
            del result.parameters[name]
            result.fixed.pop(name, None)
        for parameter in found.values():
            _declare(result, parameter, origin, is_new_sweep=design is not None)
    _take_variables(result, level.source, origin, own=level, is_new_sweep=design is not None)
    for name, value in level.spec.values.items():
        if name not in result.parameters:
            place = f"{value.place}: " if isinstance(value, Written) else ""
            raise ExperimentError(
                f"{place}{result.label}: {level.source.path.name} gives a value to {name!r}, which is no parameter of "
                f"{level.spec.base.text if level.spec.base else 'it'}{near_matches(name, result.parameters)}; "
                f"parameters: {', '.join(result.parameters) or 'none'}"
            )
        _give(result, name, value, origin, keep_axis=design is not None and name in design.names)


def _take_variables(
    result: Resolution,
    source: SourceFile,
    origin: str,
    *,
    own: Level | None = None,
    is_new_sweep: bool = False,
) -> None:
    swept = result.design.names if result.design is not None else ()
    found, opaque = variables_of(source.module, source.text, swept)
    result.opaque.update(opaque)
    for name, parameter in found.items():
        known = result.parameters.get(name)
        if name in result.fixtures or (
            known is not None and known.kind == "argument" and own is not None and own.spec.has_body
        ):
            raise ExperimentError(
                f"{result.label}: {name} is both an argument and a variable of the module; rename one"
            )
        _declare(result, parameter, origin, is_new_sweep=is_new_sweep)


def _declare(result: Resolution, parameter: Parameter, origin: str, *, is_new_sweep: bool) -> None:
    """Add a parameter, or what a further file says of one that is known."""
    name, value = parameter.name, parameter.default
    known = result.parameters.get(name)
    if known is not None:
        parameter = replace(
            parameter,
            kind=known.kind if parameter.kind == "variable" else parameter.kind,
            annotation=known.annotation if parameter.annotation is MISSING else parameter.annotation,
            description=parameter.description or known.description,
            _adapters={},
        )
    result.parameters[name] = replace(parameter, default=MISSING, _adapters={})
    if value is not MISSING:
        names = result.design.names if result.design is not None else ()
        _give(result, name, value, origin, keep_axis=name in names and (known is None or is_new_sweep))


def _give(result: Resolution, name: str, value: Any, origin: str, *, keep_axis: bool = False) -> None:
    """Give a parameter a value; an axis that was swept before becomes that value, unless it is to be kept."""
    if isinstance(value, Written):
        place = value.place
        try:
            value = typed(value.value, result.parameters[name], origin=place, experiment=result.label)
            _give(result, name, value, origin, keep_axis=keep_axis)
        except ExperimentError as error:
            raise ExperimentError(f"{place}: {error}") from None
        return
    is_axis = name in result.swept
    if isinstance(value, Inherit):
        if is_axis and not keep_axis:
            result.inherited.setdefault(name, []).append(value)
            return
        if name not in result.fixed:
            raise ExperimentError(
                f"{result.label}: {name} is {value!r}, but nothing that the experiment extends has a {name}"
                f"{near_matches(name, result.fixed)}; give it a value of its own"
            )
        is_secret = result.parameters[name].is_secret
        value = value.of(result.fixed[name], name=name, experiment=result.label, is_secret=is_secret)
    elif is_axis and not keep_axis:
        result.collapsed.add(name)
    result.fixed[name] = value
    result.origins[name] = origin


def typed(value: Any, parameter: Parameter, *, origin: str, experiment: str) -> Any:
    """Return a value of a config as `parameter` has it. Raises `ExperimentError`.

    A text into which variables of the environment were put is read like that of an option.
    """
    if isinstance(value, Inherit):
        return value
    if isinstance(value, Interpolated):
        return parameter.read(str(value), origin=origin, experiment=experiment)
    if not contains_interpolated(value):
        return parameter.convert(value, origin=origin, experiment=experiment)
    try:
        return parameter.convert(read_inside(value, origin), origin=origin, experiment=experiment)
    except ExperimentError:
        return parameter.convert(value, origin=origin, experiment=experiment)


def _check(result: Resolution) -> None:
    """Check names and types. Raises `ExperimentError`."""
    label = result.label
    for name in result.swept:
        if name not in result.parameters:
            raise ExperimentError(
                f"{label}: the sweep names {name!r}, which is neither an argument of the function nor an "
                f"UPPERCASE variable assigned in its file{near_matches(name, result.parameters)}; "
                f"parameters: {', '.join(result.parameters) or 'none'}"
            )
    for name, parameter in result.parameters.items():
        if name in RESERVED_NAMES:
            raise ExperimentError(
                f"{label}: {name} is a reserved word and cannot name a parameter "
                f"(reserved: {' '.join(sorted(RESERVED_NAMES))})"
            )
        if name in result.fixed:
            origin = result.origins[name]
            where = "its default" if origin == "default" else origin
            value = parameter.check(result.fixed[name], origin=where, experiment=label)
            result.fixed[name] = value
            result.parameters[name] = replace(parameter, default=value)
