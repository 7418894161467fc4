"""A pool's price over time as a picture, fills and discrepancies marked."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import matplotlib.dates
from attrs import frozen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spotadapters.history.refusals import UnknownFormat
from spotcore.prices import BUCKET

FORMATS: Final = (".png", ".svg")


@frozen(kw_only=True)
class Point:
    """A clean bucket. Price in $/h."""

    start: datetime
    price: Decimal
    filled: bool = False
    doubtful: bool = False


def plot(pool_id: str, points: Sequence[Point], ondemand: Decimal | None, file: Path) -> None:
    """Draw the series into ``file`` (PNG or SVG by its name). Holes stay holes. Raises ``UnknownFormat``."""
    if file.suffix.lower() not in FORMATS:
        raise UnknownFormat(f"{file}: use a name that ends in {' or '.join(FORMATS)}")
    figure = picture(pool_id, points, ondemand)
    figure.savefig(file, dpi=120, metadata={"Date": None} if file.suffix.lower() == ".svg" else None)


def picture(pool_id: str, points: Sequence[Point], ondemand: Decimal | None) -> Figure:
    """The series as it will be drawn. A price is drawn up to the end of its bucket, so that one alone is seen."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()  # matplotlib types no dates
    for stretch in _stretches(points):
        at = [*(one.start for one in stretch), stretch[-1].start + BUCKET]
        price = [float(one.price) for one in (*stretch, stretch[-1])]
        axes.plot(at, price, color="#1f6feb", linewidth=1.2, drawstyle="steps-post")
    _mark(axes, [one for one in points if one.filled], "#d97706", "filled")
    _mark(axes, [one for one in points if one.doubtful], "#dc2626", "reporters differ")
    if ondemand is not None:
        axes.axhline(float(ondemand), color="#6b7280", linestyle="--", linewidth=1, label="on-demand")
    axes.set_title(pool_id, loc="left")
    axes.set_ylabel("$/h")
    axes.set_ylim(bottom=0)
    dates: Any = matplotlib.dates
    locator = dates.AutoDateLocator(tz="UTC")
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz="UTC"))
    axes.grid(color="#e5e7eb", linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", frameon=False)
    return figure


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Runs of neighbouring buckets, so that no line is drawn over a hole."""
    runs: list[list[Point]] = []
    for one in points:
        if runs and one.start - runs[-1][-1].start <= BUCKET:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _mark(axes: Any, points: Sequence[Point], colour: str, label: str) -> None:
    if points:
        prices = [float(one.price) for one in points]
        axes.plot([one.start for one in points], prices, ".", color=colour, label=label, markersize=4)
