"""Extends a trajectory file by rows, so that the next one costs what is new and not what is there."""
