"""Numbers -> the shapes of a small chart, in the coordinates of its SVG: x to the right, y downwards."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 300, 60

GAP = 2
"""Between two bars."""


def bars(values: Sequence[float], top: float) -> str:
    """The `d` of a path: one bar a value, as high as the chart where the value is `top`."""
    step = WIDTH / max(len(values), 1)
    return "".join(
        f"M{number * step:.1f},{HEIGHT}v-{_height(value, top):.1f}h{step - GAP:.1f}V{HEIGHT}z"
        for number, value in enumerate(values)
        if value > 0
    )


def steps(values: Sequence[float], top: float) -> str:
    """The `d` of a path: one level stroke a value, joined where there are values side by side."""
    step = WIDTH / max(len(values), 1)
    path, is_drawing = [], False
    for number, value in enumerate(values):
        if value <= 0:
            is_drawing = False
            continue
        y = HEIGHT - _height(value, top)
        path.append(f"L{number * step:.1f},{y:.1f}" if is_drawing else f"M{number * step:.1f},{y:.1f}")
        path.append(f"H{(number + 1) * step - GAP:.1f}")
        is_drawing = True
    return "".join(path)


def _height(value: float, top: float) -> float:
    return HEIGHT * min(value / top, 1.0) if top > 0 else 0.0
