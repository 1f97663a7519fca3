"""Writes what a sweep recorded as columns: gathered from the commit logs, laid out by type and shape."""
