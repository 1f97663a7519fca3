"""At which angle does a baseball fly farthest? Without air at 45°; with air a search has to find it.

Drag as in Adair, "The Physics of Baseball" (1994): force rho/2 c A v² against the motion, here with a constant c.
"""

from math import cos, hypot, pi, radians, sin

from expedition import experiment

SPEED: float = 45.0  # at the bat, m/s
DRAG: float = 0.35  # coefficient c
MASS: float = 0.145  # kg
RADIUS: float = 0.0366  # m
TOLERANCE: float = 0.2  # degrees within which the best angle is wanted


def fly(angle: float, step: float = 1e-3) -> tuple[float, float]:
    """Distance and height of a flight from level ground, in m, by the midpoint rule."""
    k = 1.204 / 2 * DRAG * pi * RADIUS**2 / MASS
    x, y, u, v = 0.0, 0.0, SPEED * cos(radians(angle)), SPEED * sin(radians(angle))
    top = 0.0
    while True:
        speed = hypot(u, v)
        half_u, half_v = u - step / 2 * k * speed * u, v - step / 2 * (9.81 + k * speed * v)
        speed = hypot(half_u, half_v)
        before = x, y
        x, y = x + step * half_u, y + step * half_v
        u, v = u - step * k * speed * half_u, v - step * (9.81 + k * speed * half_v)
        top = max(top, y)
        if y < 0:
            return before[0] + (x - before[0]) * before[1] / (before[1] - y), top


@experiment.parametrize("angle", [10.0, 30.0, 45.0, 60.0, 80.0])
def exp_search(e, angle: float = 45.0):
    e["distance"], e["height"] = fly(angle)
    e.annotate("distance", "where the ball lands", unit="m")
    assert 0 < e["distance"] < SPEED**2 / 9.81


@experiment.after_sweep
def narrow(traj, e):
    """Look at six angles between the neighbours of the best one, until these are close."""
    import numpy as np

    order = np.argsort(traj.par.angle.values)
    angle, distance = traj.par.angle.values[order], traj.res.distance.values[order]
    best = int(distance.argmax())
    low, high = angle[best - 1], angle[best + 1]
    e.log(f"farthest at {angle[best]:.2f}°, between {low:.2f}° and {high:.2f}°")
    if high - low > TOLERANCE:
        return [{"angle": float(a)} for a in np.linspace(low, high, 8)[1:-1]]
    a, b, _ = np.polyfit(angle[best - 1 : best + 2] - angle[best], distance[best - 1 : best + 2], 2)
    e["angle"], e["distance"] = float(angle[best] - b / (2 * a)), float(distance[best])
    e["gain_over_45"] = float(distance[best] - distance[angle == 45.0][0])
    e.commit_frame("angles.csv", traj.to_pandas()[["angle", "distance", "height"]])
    return None
