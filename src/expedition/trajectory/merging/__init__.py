"""How trajectories become one: the plan of its rows, its columns, series, runs and notes, and the file."""
