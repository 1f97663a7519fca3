"""What an experiment file says: marker, parameters, sweeps, identity."""

from expedition.authoring.marker import experiment

__all__ = ["experiment"]
