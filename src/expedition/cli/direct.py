"""Direct runs: ``python exp_ridge.py --alpha 0.1 -n 4`` of a file that ends in ``experiment.main()``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from expedition.authoring.lineage import experiments_in, lineage_of, read_text
from expedition.authoring.parameters import MISSING, Parameter
from expedition.authoring.resolution import Resolution, resolve
from expedition.errors import ExperimentError, near_matches
from expedition.recording.masking import MASKED, Mask
from expedition.reporting.printing import print_text

_WRONG_OPTION = 2
"""Exit status when an option is neither one of the file nor one of pytest: nothing was started."""

_NEGATIVE = re.compile(r"-\.?(?:\d|inf)", re.IGNORECASE)


def run_script(module: dict[str, Any], arguments: Sequence[str]) -> int:
    """Run the experiments of a script with pytest, in this process; return the exit status of pytest.

    `module` has the globals of the script. ``--NAME VALUE`` and ``--NAME=VALUE`` give a parameter its value, as
    ``-P NAME=VALUE`` does; all other arguments are those of pytest. With ``--help`` the parameters are listed. The
    exit status is 2 for an option that nobody knows.
    """
    path = Path(module["__file__"]).resolve()
    try:
        options = _Options(_experiments(module, path))
        if any(argument in ("-h", "--help") for argument in _before_end(arguments)):
            print(options.help(path.name, str(module.get("__doc__") or "").strip()), end="")
            return 0
        values, rest = options.split(arguments)
    except ExperimentError as error:
        print_text(f"ERROR: {path.name}: {error}", sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    except _OptionError as error:
        print_text(f"{path.name}: {error}", sys.stderr)
        return _WRONG_OPTION
    given = [argument for value in values for argument in ("-P", value)]
    try:
        return int(
            pytest.main(["--experiments", _from_here(path), *given, *rest], plugins=[_UnknownOptions()])
        )
    except _UnknownOptionError as error:
        near = options.near(error.name)
        print_text(
            f"{path.name}: {error.name} is neither a parameter nor an option of pytest{near}; "
            f"python {path.name} --help lists the parameters, pytest --help the options",
            sys.stderr,
        )
        return _WRONG_OPTION


class _OptionError(Exception):
    """An option of the script is wrong."""


class _UnknownOptionError(Exception):
    """pytest does not know an option."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _UnknownOptions:
    """Finds options that pytest does not know, as soon as all that declare some are loaded."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, parser: pytest.Parser, args: list[str]
    ) -> Generator[None, object, object]:
        result = yield
        known = argparse.Namespace(**vars(early_config.known_args_namespace))
        for argument in parser.parse_known_and_unknown_args(args, known)[1]:
            if argument.startswith("-"):
                raise _UnknownOptionError(argument.partition("=")[0])
        return result


@dataclass(frozen=True)
class _Offer:
    """A parameter of an experiment that is called `experiment`."""

    experiment: str
    parameter: Parameter
    is_swept: bool
    default: Any


class _Options:
    """The options of a script: its parameters by name, with the experiment in front where they are several."""

    def __init__(self, experiments: Mapping[str, Resolution]) -> None:
        self._experiments = list(experiments)
        self._by_name: dict[str, list[_Offer]] = {}
        for experiment, found in experiments.items():
            for name, parameter in found.parameters.items():
                default = found.fixed.get(name, parameter.default)
                offer = _Offer(experiment, parameter, name in found.swept, default)
                self._by_name.setdefault(name, []).append(offer)

    def split(self, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the values of parameters, as ``-P`` takes them, and the arguments of pytest.

        Raises `_OptionError` for a parameter without a value, and for one that several experiments have.
        """
        values: list[str] = []
        rest: list[str] = []
        left = list(arguments)
        while left:
            argument = left.pop(0)
            if argument == "--":
                return values, [*rest, argument, *left]
            option, equals, value = argument.partition("=")
            if not option.startswith("--") or not self._knows(option[2:]):
                rest.append(argument)
                continue
            if not equals:
                if not left or (left[0].startswith("-") and not _NEGATIVE.match(left[0])):
                    raise _OptionError(f"{option} needs a value, such as {option}=VALUE")
                value = left.pop(0)
            values.append(f"{option[2:]}={value}")
        return values, rest

    def _knows(self, name: str) -> bool:
        experiment, colon, parameter = name.rpartition(":")
        offers = self._by_name.get(parameter, ())
        if colon:
            return any(offer.experiment == experiment for offer in offers)
        if offers and not self._is_common(offers):
            ways = " or ".join(f"--{offer.experiment}:{name}" for offer in offers)
            raise _OptionError(
                f"--{name} is a parameter of several experiments; write {ways}, or -P {name}=VALUE for all"
            )
        return bool(offers)

    def _is_common(self, offers: Sequence[_Offer]) -> bool:
        """Tell whether a name means one thing: it is of one experiment, or a variable of the file."""
        return len(offers) == 1 or all(offer.parameter.kind == "variable" for offer in offers)

    def near(self, option: str) -> str:
        """Return the options close to one that is none, for a message."""
        known = [f"--{name}" for name, _ in self._named()]
        same = [name for name in known if name.lower().replace("_", "-") == option.lower().replace("_", "-")]
        return f" (did you mean {same[0]!r}?)" if same else near_matches(option, known)

    def _named(self) -> Iterable[tuple[str, _Offer]]:
        for name, offers in self._by_name.items():
            if self._is_common(offers):
                yield name, offers[0]
            else:
                yield from ((f"{offer.experiment}:{name}", offer) for offer in offers)

    def help(self, script: str, description: str) -> str:
        """Return the list of the parameters."""
        parser = argparse.ArgumentParser(
            prog=f"python {script}",
            usage="%(prog)s [--PARAMETER VALUE …] [options of pytest]",
            description=description.partition("\n\n")[0].replace("%", "%%"),
            epilog="All other options are those of pytest, such as -n 4, -k, --resume: see pytest --help.",
            add_help=False,
        )
        several = len(self._experiments) > 1
        groups: dict[str, Any] = {}
        offers = [offer for _, offer in self._named()]
        mask = Mask(o.default for o in offers if o.parameter.is_secret and o.default is not MISSING)
        for name, offer in self._named():
            title = f"parameters of {offer.experiment}"
            if several and len(self._by_name[offer.parameter.name]) > 1 and ":" not in name:
                title = "parameters of several experiments"
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            groups[title].add_argument(
                f"--{name}", metavar=offer.parameter.type_name or "VALUE", help=_about(offer, mask)
            )
        return parser.format_help()


def _about(offer: _Offer, mask: Mask) -> str:
    said = [offer.parameter.description] if offer.parameter.description else []
    if offer.default is not MISSING:
        text = MASKED if offer.parameter.is_secret else mask.text(repr(offer.default))
        said.append(f"default: {text if len(text) <= 60 else f'{text[:59]}…'}")
    if offer.is_swept:
        said.append("swept; a value takes the place of the axis")
    return "; ".join(said).replace("%", "%%")


def _experiments(module: dict[str, Any], path: Path) -> dict[str, Resolution]:
    """Return what the experiments of the script come to, by name. Raises `ExperimentError`."""
    text, found = read_text(path), {}
    for name, function in experiments_in(module).items():
        lineage = lineage_of(function, module, path=path, text=text)
        found[name] = resolve(lineage, file=path.name)
    return found


def _before_end(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: list(arguments).index("--")] if "--" in arguments else arguments


def _from_here(path: Path) -> str:
    here = Path(os.getcwd()).resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
