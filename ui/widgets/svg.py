"""Small SVG pictures for the How it works tab: a curve and bars, in a box that is WIDTH wide."""

from collections.abc import Sequence

import numpy as np

from ui.widgets.markup import Html, tag

WIDTH = 720
COLOUR = "var(--accent)"


def picture(height: float, *parts, label: str) -> Html:
    """An SVG with a label for screen readers; it scales with the page."""
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=label)


def curve(values: np.ndarray, height: float) -> Html:
    """A line through values in [-1, 1], left to right."""
    x = np.linspace(0, WIDTH, len(values))
    y = height / 2 - np.asarray(values) * height / 2
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return tag("polyline", points=points, fill="none", stroke=COLOUR, stroke_width="1.5", stroke_linejoin="round")


def bar(x: float, y: float, width: float, height: float) -> Html:
    return tag(
        "rect",
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        width=f"{max(width, 0.5):.1f}",
        height=f"{max(height, 0):.1f}",
        fill=COLOUR,
    )


def bars(values: Sequence[float], height: float) -> list[Html]:
    """Bars for values in [0, 1] over the whole width."""
    pitch = WIDTH / max(len(values), 1)
    return [bar(i * pitch, height * (1 - v), pitch - 1, height * v) for i, v in enumerate(values)]
