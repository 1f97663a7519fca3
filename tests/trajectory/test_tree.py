"""Names: shortcuts, ambiguity, what contains what, and where a node stands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import AmbiguousNameError, NameNotFoundError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.reading.tree import build_tree, lookup, resolve
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    builder = build_sweep([{"alpha": 0.1, "model.depth": 2}, {"alpha": 1.0, "model.depth": 2}], {"N": 5})
    data = {
        "rmse/mean": 0.5,
        "rmse/std": 0.1,
        "a/x": 1,
        "b/x": 2,
        "b/c/y": 3,
        "class": 4,
        "two words": 5,
        "get": 6,
        "leaves": 7,
        "_hidden": 8,
    }
    notes = {"rmse/mean": {"unit": "K", "comment": "root of the mean square"}}
    builder.run(0, data, series={"loss": [1.0, 2.0], "x/loss": [1]}, derived={"total": 1}, annotations=notes)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


@pytest.mark.parametrize(
    ("short", "path"),
    [
        ("par.alpha", "parameters/alpha"),
        ("dpar.total", "derived_parameters/total"),
        ("res.rmse.mean", "results/rmse/mean"),
        ("conf.testing", "config/testing"),
        ("series.loss", "series/loss"),
        ("parameters.alpha", "parameters/alpha"),
        ("rmse.mean", "results/rmse/mean"),
        ("mean", "results/rmse/mean"),
        ("depth", "parameters/model/depth"),
        ("y", "results/b/c/y"),
        ("b.y", "results/b/c/y"),
        ("res.c.y", "results/b/c/y"),
        ("a.x", "results/a/x"),
        ("loss", "series/loss"),
    ],
)
def test_short_and_whole_names_mean_the_same(traj: Trajectory, short: str, path: str) -> None:
    node = traj
    for part in short.split("."):
        node = getattr(node, part)
    assert node.path == path  # type: ignore[attr-defined]
    for name in (short, short.replace(".", "/"), path, path.replace("/", ".")):
        assert traj[name].path == traj.get(name).path == path
        assert name in traj


def test_ambiguous_names_are_refused_by_naming_both(traj: Trajectory) -> None:
    for ask in (lambda: traj.x, lambda: traj["x"], lambda: traj.get("x"), lambda: traj.res.x):
        with pytest.raises(
            AmbiguousNameError, match=r"trajectory\.h5: it may be 'results/a/x' and 'results/b/x'"
        ):
            ask()
    with pytest.raises(KeyError):
        _ = traj.x
    with pytest.raises(AttributeError):
        _ = traj.x
    assert "x" in traj
    assert "x" in traj.res
    series, first, second = traj.get_all("x")  # the least deep first, whatever it is
    assert (series.info().path, first.path, second.path) == ("series/x", "results/a/x", "results/b/x")
    assert [column.path for column in traj.series.get_all("loss")] == ["series/loss", "series/x/loss"]
    assert traj.get_all("nothing") == []


def test_odd_names_by_items(traj: Trajectory) -> None:
    assert traj.res["class"][0] == 4
    assert traj["two words"][0] == 5
    assert callable(traj.res.get)
    assert traj.res["get"][0] == 6
    assert traj.res["leaves"][0] == 7
    assert traj.res["_hidden"][0] == 8
    with pytest.raises(AttributeError):
        _ = traj.res._hidden
    with pytest.raises(NameNotFoundError, match="a name is text"):
        traj.res[0]
    assert 0 not in traj.res
    assert None not in traj


def test_what_contains_what(traj: Trajectory) -> None:
    mean = traj.res.rmse.mean
    assert mean in traj
    assert mean in traj.res
    assert mean in traj.res.rmse
    assert mean not in traj.par
    assert "rmse" in traj.res
    assert "rmse" not in traj.par
    assert "nothing" not in traj
    assert traj[1] in traj
    assert traj[1].id in traj
    assert traj[1].key in traj
    assert traj[1] not in traj[:1]
    assert traj[1].id not in traj[:1]
    assert "ffffffff" not in traj
    assert "alpha=7-model.depth=2-rep=0" not in traj


def test_leaves_and_dicts(traj: Trajectory) -> None:
    assert [column.path for column in traj.leaves("par")] == [
        "parameters/alpha",
        "parameters/model/depth",
        "parameters/N",
    ]
    assert [column.path for column in traj.res.rmse.leaves()] == ["results/rmse/mean", "results/rmse/std"]
    assert len(list(traj.leaves())) == len(traj.to_dict(nested=False))
    flat = traj.res.to_dict(nested=False)
    assert flat["b/c/y"].path == "results/b/c/y"
    assert list(flat)[:3] == ["rmse/mean", "rmse/std", "a/x"]
    nested = traj.to_dict()
    assert nested["results"]["b"]["c"]["y"].path == "results/b/c/y"
    assert nested["derived_parameters"]["total"][0] == 1
    assert traj[0].res.to_dict(nested=False)["b/c/y"] == 3
    assert traj[0].to_dict()["results"]["b"] == {"x": 2, "c": {"y": 3}}
    assert traj[0].to_dict(nested=False)["parameters/model/depth"] == 2
    with pytest.raises(NameNotFoundError, match=r"no branch 'result' \(did you mean 'results'"):
        traj.leaves("result")


def test_where_a_node_stands(traj: Trajectory) -> None:
    leaf = traj.info("mean")
    assert (leaf.path, leaf.name, leaf.branch, leaf.parent, leaf.depth) == (
        "results/rmse/mean",
        "mean",
        "results",
        "results/rmse",
        3,
    )
    assert (leaf.kind, leaf.unit, leaf.comment, leaf.is_leaf, leaf.children) == (
        "float",
        "K",
        "root of the mean square",
        True,
        (),
    )
    group = traj.res.info("rmse")
    assert (group.path, group.kind, group.is_leaf, group.children) == (
        "results/rmse",
        None,
        False,
        ("mean", "std"),
    )
    root = traj.info()
    assert (root.path, root.name, root.branch, root.parent, root.depth) == ("", "", "", None, 0)
    assert root.children == ("parameters", "derived_parameters", "results", "config", "series")


def test_unknown_names_name_the_file_and_what_there_is(traj: Trajectory) -> None:
    with pytest.raises(NameNotFoundError, match=r"trajectory\.h5 has no 'alhpa' \(did you mean 'alpha'"):
        _ = traj.alhpa
    with pytest.raises(
        NameNotFoundError, match=r"'results/rmse' of .*trajectory\.h5 has no 'zzz'; it has mean, std"
    ):
        _ = traj.res.rmse.zzz
    with pytest.raises(NameNotFoundError, match=r"trajectory\.h5 has no 'q'; it has parameters/alpha, .*, …"):
        _ = traj["q"]
    for empty in ("", "/", "."):
        with pytest.raises(NameNotFoundError, match="is no name"):
            traj[empty]


def test_completion_everywhere(traj: Trajectory) -> None:
    assert {"alpha", "model", "N"} <= set(dir(traj.par))
    assert "two words" not in dir(traj.res)
    assert {"two words", "b/c/y", "class"} <= set(traj.res._ipython_key_completions_())
    assert "series/x/loss" in traj._ipython_key_completions_()
    assert set(traj.series._ipython_key_completions_()) == {"loss", "x/loss"}
    assert {"results", "res", "params", "artifacts", "record"} <= set(dir(traj[0]))
    assert "results/b/c/y" in traj[0]._ipython_key_completions_()
    assert "results/b/c/y" not in traj[1]._ipython_key_completions_()  # run 1 has no results
    assert "rmse" in dir(traj[0].res)
    assert "rmse" not in dir(traj[1].res)
    assert traj.runs._ipython_key_completions_()[:2] == ["index", "id"]


names = st.sampled_from(["a", "b", "c", "d", "e"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
branches = st.sampled_from(["parameters", "results", "series"])


@settings(max_examples=examples(150))
@given(st.sets(st.tuples(branches, paths).map("/".join), min_size=1, max_size=8), names)
def test_a_single_name_means_the_one_that_is_least_deep(leaves: set[str], name: str) -> None:
    """Against a plain search: of all nodes of that name the least deep, series after the other branches."""
    tree = build_tree(sorted(leaves))
    nodes = {"/".join(leaf.split("/")[:k]) for leaf in leaves for k in range(1, leaf.count("/") + 2)}
    named = sorted(path for path in nodes if path.rpartition("/")[2] == name)
    for group in ([p for p in named if not p.startswith("series")], named):
        least = [p for p in group if p.count("/") == min(q.count("/") for q in group)]
        if least:
            break
    if len(least) == 1:
        assert resolve(tree, name).path == least[0]
    elif least:
        with pytest.raises(AmbiguousNameError) as error:
            resolve(tree, name)
        assert all(repr(path) in str(error.value) for path in least[:2])
    else:
        assert lookup(tree, name) is None
        with pytest.raises(NameNotFoundError):
            resolve(tree, name)
    assert [node.path.count("/") for node in tree.named(name)] == sorted(p.count("/") for p in named)
