"""What an experiment file says: marker, parameters, sweeps, identity."""

from expedition.authoring.inherit import INHERIT
from expedition.authoring.marker import experiment
from expedition.authoring.secrets import Secret

__all__ = ["INHERIT", "Secret", "experiment"]
