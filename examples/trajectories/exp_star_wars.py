"""Access and storage: groups of parameters and results, and every way to name them."""

from expedition import Run, Trajectory, experiment

EPISODE: int = 4  # which film


@experiment.parametrize("pilot", ["luke_skywalker", "han_solo"])
def exp_flight(e: Run, pilot: str, parsecs: float = 12.0) -> None:
    ship = {"luke_skywalker": "x_wing", "han_solo": "millennium_falcon"}[pilot]
    e["characters/pilot/name"] = pilot
    e["characters/pilot/ship/name"] = ship  # a leaf of the same name, one group deeper
    e["characters/count"] = 2
    e[f"ships/{ship}/parsecs"] = parsecs / 2 if ship == "x_wing" else parsecs
    e.derived("light_years", 3.26156 * parsecs)


@experiment.after_sweep
def ways_to_a_name(traj: Trajectory, e: Run) -> None:
    full = traj.results.characters.count[0]
    short = traj.res.characters.count[0]
    shortcut = traj["count"][0]  # one leaf of this name: the groups may be left out
    spelled = traj["results/characters/count"][0]
    e["equal"] = bool(full == short == shortcut == spelled == 2)
    e["shallowest"] = traj.res.characters["name"][1]  # the pilot's, not the ship's
    e["missing"] = traj.get("ships/tie_fighter", "none was seen")
    e["film"] = traj.par.EPISODE[0]
    e["light years"] = traj.dpar.light_years[0]
