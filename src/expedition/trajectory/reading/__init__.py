"""Reads columns lazily: natural naming, views of runs, search, and tables."""
