"""Names and numbers of the trajectory file, version 1.0: the one place that spells them."""

from __future__ import annotations

import hashlib
import re

FORMAT = "expedition-trajectory"
FORMAT_VERSION = "1.0"
CONVENTIONS = "CF-1.11"

PARAMETERS = "parameters"
DERIVED = "derived_parameters"
RESULTS = "results"
CONFIG = "config"
SERIES = "series"
RUNS = "runs"
ABBREVIATIONS = {"par": PARAMETERS, "dpar": DERIVED, "res": RESULTS, "conf": CONFIG}
"""Short names of the branches in natural naming."""
BRANCHES = (PARAMETERS, DERIVED, RESULTS, CONFIG)

ROW_CHUNK = 1024
"""Rows of a chunk of a column over runs."""
MAX_RUNS = 2**62
"""Rows that ``/run`` may grow to: with no limit at all, h5netcdf looks at all columns for its length, for each."""
OBS_CHUNK = 8192
"""Observations of a chunk of ragged data."""
ARRAY_CHUNK_BYTES = 256 * 1024
MAX_CHUNK_BYTES = 1 << 20
COMPRESSION_GAIN = 1.2
"""Arrays are compressed only when a probe of one chunk shrinks by this factor."""

LEAF_LIMIT = 1000
"""Leaves of one branch that get a column of their own."""
FLAT_LIMIT = 500
"""Columns that are linked at the root."""
SCALE_LIMIT = 3500
"""Datasets attached to one dimension scale with a back reference; its attribute holds at most 64 KiB."""
CHARS_LIMIT = 512
"""Longest text, in bytes, that a column of ``/runs`` keeps as characters."""
INLINE_LIMIT = 1 << 20
"""Bytes of one array above which it stays in the run folder, unless all runs have the same shape."""

PER_RUN = "ragged-arrays"
"""The encoding of series of arrays whose shape differs between runs."""

MISSING, VALUE, NONE, INT_IN_FLOAT, SEE_JSON, NUMPY = range(6)
"""What a cell of ``_state`` says."""
STATE_MEANINGS = "missing value none int_in_float see_json numpy_scalar"

TIME_UNITS = "microseconds since 1970-01-01"
CALENDAR = "proleptic_gregorian"
INT64_MIN = -(2**63)

META = "_meta"
STATE = "_state"
TAIL = "_tail"
SCHEMA = "_meta/schema"
GROWTH = "_meta/growth"
CHECKSUM = "_meta/checksum"
SOURCES = "_meta/sources"
ANNOTATIONS = "annotations"
ROOT_NAMES = frozenset({*BRANCHES, SERIES, RUNS, ANNOTATIONS, META, STATE, TAIL, "run"})

NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable.%10d"
"""Name of a dimension scale without values, as netCDF-4 writes it."""

_ODD = re.compile(r"[\x00-\x1f\x7f/]|^\.+$|^\s|\s$|^_")
_LONGEST_NAME = 200  # bytes; netCDF allows 256 for a name


def link_name(segment: str) -> str:
    """Return the HDF5 link name for one segment of a logical path; readers find the segment in the schema.

    A segment that HDF5 or netCDF cannot use, or that is very long, keeps what it can and gets a hash.
    """
    raw = segment.encode("utf-8", "surrogatepass")
    if not _ODD.search(segment) and len(raw) <= _LONGEST_NAME and segment.isprintable():
        return segment
    stem = "".join(c if c.isprintable() and c != "/" else "-" for c in segment).strip("._ ")
    while len(stem.encode("utf-8", "replace")) > _LONGEST_NAME - 10:
        stem = stem[:-1]
    return f"{stem}~{hashlib.sha256(raw).hexdigest()[:8]}"


def natural_path(path: str) -> str:
    """Return the HDF5 path that a logical path has when no other name is in its way."""
    branch, *segments = path.split("/")
    return "/".join([branch, *map(link_name, segments)])
