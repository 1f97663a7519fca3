"""Reads any trajectory file with h5py and numpy alone, by what docs/trajectory-format.md says.

python examples/read_trajectory.py FILE             lists the columns
python examples/read_trajectory.py FILE COLUMN      prints a column, a series or a field of the runs, run by run
"""

import datetime
import json
import sys

import h5py
import numpy as np

MISSING = "(missing)"
UNKNOWN = np.iinfo(np.int64).min


class Reader:
    """A file; `columns` is its schema by logical path, `n` the number of runs, a row each."""

    def __init__(self, path):
        self.file = h5py.File(path, "r", locking="best-effort")
        if self.file.attrs["format"] != "expedition-trajectory":
            raise ValueError(f"{path} is no trajectory")
        if self.file.attrs["format_version"].split(".")[0] != "1":
            raise ValueError(f"{path} has format version {self.file.attrs['format_version']}, this reads 1.x")
        columns = json.loads(self.file["_meta/schema"].asstr()[()])["columns"]
        self.columns = dict(sorted(columns.items(), key=lambda item: item[1]["order"]))
        self.n = len(self.file["run"])

    def column(self, path):
        """The value of every run, `MISSING` where it has none; JSON stays tagged. Section 4."""
        entry = self.columns[path]
        if path.startswith("series/"):
            return self.series(path)
        if entry.get("encoding") == "tail":
            name = path.partition("/")[2]
            return [json.loads(text or "{}").get(name, MISSING) for text in self.texts(entry["at"])]
        node, states = self.file[entry["at"]], self.states(entry["at"], self.n)
        if entry["kind"] == "json":
            values = [json.loads(text) if text else MISSING for text in self.texts(entry["at"])]
        elif entry["kind"] == "text":
            kind = np.str_ if "dtype_orig" in node.attrs else str
            values = [kind(text) for text in self.texts(entry["at"])]
        elif entry["kind"] in ("array", "sparse", "frame", "masked", "structured"):
            values = self.stored(entry, node, states)
        else:
            values = scalars(entry["kind"], node.attrs, node[:])
        return [in_state(value, state) for value, state in zip(values, states, strict=True)]

    def stored(self, entry, node, states):
        """Arrays, and values made of several arrays: for each run the form with its parts. Sections 4.5 to 4.8."""
        indexed = entry.get("encoding") == "indexed"
        layout = entry["values"] if indexed else entry.get("encoding")
        several = entry["kind"] != "array" and "form" not in entry
        forms = [json.loads(text) for text in node["forms"].asstr()[:]] if several else None
        for run, slot in enumerate(node["index"][:] if indexed else range(self.n)):
            if states[run] != 1:
                yield json.loads(node["json"].asstr()[run]) if states[run] == 4 else None
            elif entry["kind"] != "array":
                form = entry["form"] if forms is None else forms[node["form"][slot]]
                yield filled(form, node, slot, layout in ("masked", "fields"))
            elif layout == "ragged":
                yield (
                    node["value"][span(node, "obs", slot)].reshape(node["shape"][slot]).astype(entry["dtype"])
                )
            else:
                yield np.asarray((node["value"] if indexed else node)[slot]).astype(entry["dtype"])

    def series(self, path):
        """Steps, times (datetime64) and values of every run. Section 6."""
        entry = self.columns[path]
        group = self.file[entry["at"]]
        value, kind = group["value"], entry["kind"]
        found = []
        for run in range(self.n):
            part = span(group, "obs", run)
            if kind in ("json", "file"):
                values = [text if kind == "file" else json.loads(text) for text in value.asstr()[part]]
            elif entry["encoding"] == "ragged-arrays":
                shape, start = (part.stop - part.start, *group["shape"][run]), group["value_start"][run]
                values = list(
                    value[start : start + np.prod(shape)].reshape(shape).astype(value.attrs["dtype_orig"])
                )
            elif kind == "array":
                values = list(value[part].astype(value.attrs["dtype_orig"]))
            else:
                states = self.states(entry["at"], len(value))[part]
                values = scalars(kind, value.attrs, value[part])
                values = [in_state(each, state) for each, state in zip(values, states, strict=True)]
            found.append((group["step"][part], group["time"][part].view("M8[us]"), values))
        return found

    def field(self, name):
        """What is known of every run: id, key, status, start, … with None for what is not known. Section 3.2."""
        node = self.file[f"runs/{name}"]
        if name == "seed" and h5py.check_string_dtype(node.dtype):
            return [json.loads(text) if text else None for text in self.texts("runs/seed")]
        if node.dtype == "S1" or h5py.check_string_dtype(node.dtype):
            return [text or None for text in self.texts(f"runs/{name}")]
        if "units" in node.attrs:
            return scalars("datetime", node.attrs, node[:])
        return [None if value == UNKNOWN or value != value else value for value in node[:].tolist()]

    def texts(self, path):
        """Text of variable length, or padded characters. Sections 4.2 and 4.3."""
        node = self.file[path]
        if node.dtype != "S1":
            return node.asstr()[:].tolist()
        return [row.tobytes().rstrip(b"\0").decode() for row in node[:]]

    def states(self, path, length):
        """The states of a column; all are plain values where there are none. Section 5."""
        node = self.file.get(f"_state/{path}")
        return np.ones(length, np.uint8) if node is None else node[:]


def span(group, axis, row):
    """The elements of a row along an axis of ragged data."""
    start, count = group[f"{axis}_start"][row], group[f"{axis}_count"][row]
    return slice(start, start + count)


def filled(form, group, slot, stacked):
    """A form with the parts of one value in their places. Section 4.7."""
    if isinstance(form, list):
        return [filled(item, group, slot, stacked) for item in form]
    if not isinstance(form, dict) or form.get("$") != "part":
        return (
            {k: filled(v, group, slot, stacked) for k, v in form.items()} if isinstance(form, dict) else form
        )
    if form["at"] == "shape":
        return group["shape"][slot].tolist()
    if stacked:
        return np.asarray(group[form["at"]][slot]).astype(form["dtype"])
    place = span(group, form["axis"], slot)
    count = int(place.stop - place.start)
    if form["at"] == "rows":
        return [0, count, 1]
    if "as" in form:
        texts = group[form["at"]].asstr()[place].tolist()
        if form["as"] == "json":
            return [json.loads(text) for text in texts]
        gone = filled(form["missing"], group, slot, stacked)
        return [None if missing else text for text, missing in zip(texts, gone, strict=True)]
    part = group[form["at"]][place] if form["at"] in group else np.zeros(count, bool)
    shape = (*group["shape"][slot], *part.shape[1:]) if form.get("shaped") else part.shape
    return part.astype(form["dtype"]).reshape(shape)


def scalars(kind, attrs, raw):
    """The Python or numpy values of raw numbers. Section 4.1."""
    original = attrs.get("dtype_orig")
    if original is not None:
        dtype = np.dtype(original)
        return list(raw.view(dtype) if dtype.kind in "mM" else raw.astype(dtype))
    if kind == "bool":
        return [value == 1 for value in raw.tolist()]
    if kind == "datetime":
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC if attrs["timezone"] == "UTC" else None)
        return [None if t == UNKNOWN else epoch + datetime.timedelta(microseconds=t) for t in raw.tolist()]
    if kind == "timedelta":
        return [None if t != t else datetime.timedelta(seconds=t) for t in raw.tolist()]
    return raw.tolist()


def in_state(value, state):
    """A cell as its state says. Section 5."""
    if state == 3:
        return int(value)
    if state == 5:
        return {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}[type(value)](value)
    return (MISSING, value, None, None, value)[state]


def main(arguments):
    reader = Reader(arguments[0])
    if len(arguments) > 1:
        name = arguments[1]
        values = reader.column(name) if name in reader.columns else reader.field(name.removeprefix("runs/"))
        for run, value in zip(reader.field("id"), values, strict=True):
            print(f"{run}\t{value}")
        return
    print(f"{reader.file.attrs['title']} ({reader.n} runs, complete: {bool(reader.file.attrs['complete'])})")
    for path, entry in reader.columns.items():
        how, comment = entry.get("encoding", ""), entry.get("comment", "")
        print(f"{path:40} {entry['kind']:10} {how:14} {comment}".rstrip())
    print("runs/ " + " ".join(reader.file["runs"]))


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    main(sys.argv[1:])
