"""Pictures of prices: the right series, holes left open, every mark where it belongs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spotadapters.history.plotting import Point, picture, plot
from spotadapters.history.refusals import UnknownFormat

D = Decimal
T0 = datetime(2026, 2, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
POOL = "m5.large.us-east-1a"


def points(*numbers: int, price: str = "0.03", **marks: bool) -> list[Point]:
    return [Point(start=T0 + n * STEP, price=D(price), **marks) for n in numbers]


def drawn(*rows: Point, ondemand: Decimal | None = None) -> Any:
    (axes,) = picture(POOL, rows, ondemand).axes
    return axes


def runs(axes: Any) -> list[list[tuple[int, float]]]:
    """The lines of the series: minutes after the start, price."""
    import matplotlib.dates  # not above: every worker collects this file, one runs it

    found = []
    for line in axes.get_lines():
        if line.get_linestyle() == "-":
            times = [matplotlib.dates.num2date(x) if isinstance(x, float) else x for x in line.get_xdata()]
            found.append(
                [((at - T0) // timedelta(minutes=1), y) for at, y in zip(times, line.get_ydata(), strict=True)]
            )
    return found


def marks(axes: Any) -> dict[str, list[int]]:
    """Where the labelled points stand, in buckets."""
    return {
        line.get_label(): [(at - T0) // STEP for at in line.get_xdata()]
        for line in axes.get_lines()
        if line.get_marker() == "."
    }


def test_a_price_is_drawn_from_the_start_of_its_bucket_to_the_end() -> None:
    rows = [*points(0, price="0.03"), *points(1, price="0.04")]
    axes = drawn(*rows)
    assert runs(axes) == [[(0, 0.03), (5, 0.04), (10, 0.04)]]
    (line,) = axes.get_lines()
    assert line.get_drawstyle() == "steps-post"


def test_a_hole_stays_a_hole() -> None:
    assert runs(drawn(*points(0, 1, 4, 5, 6))) == [
        [(0, 0.03), (5, 0.03), (10, 0.03)],
        [(20, 0.03), (25, 0.03), (30, 0.03), (35, 0.03)],
    ]


def test_a_bucket_alone_is_seen() -> None:
    assert runs(drawn(*points(0, 10, 20))) == [
        [(0, 0.03), (5, 0.03)],
        [(50, 0.03), (55, 0.03)],
        [(100, 0.03), (105, 0.03)],
    ]


def test_filled_and_doubtful_buckets_are_marked_where_they_are() -> None:
    rows = [
        *points(0, 1),
        *points(2, 3, filled=True),
        *points(4, doubtful=True),
        *points(5, filled=True, doubtful=True),
    ]
    assert marks(drawn(*rows)) == {"filled": [2, 3, 5], "reporters differ": [4, 5]}
    assert marks(drawn(*points(0, 1))) == {}


def test_the_legend_names_what_there_is_and_nothing_else() -> None:
    def legend(*rows: Point, ondemand: Decimal | None = None) -> list[str]:
        found = drawn(*rows, ondemand=ondemand).get_legend()
        return [text.get_text() for text in found.get_texts()] if found else []

    assert legend(*points(0, 1)) == []
    assert legend(*points(0, filled=True)) == ["filled"]
    assert legend(*points(0, doubtful=True), ondemand=D("0.096")) == ["reporters differ", "on-demand"]


def test_on_demand_is_a_dashed_line_at_its_price_over_the_whole_width() -> None:
    axes = drawn(*points(0, 1), ondemand=D("0.096"))
    (line,) = [one for one in axes.get_lines() if one.get_linestyle() == "--"]
    assert (list(line.get_ydata()), list(line.get_xdata())) == ([0.096, 0.096], [0, 1])


def test_the_picture_says_what_it_shows_and_begins_at_nothing() -> None:
    axes = drawn(*points(0, 1))
    assert (axes.get_title(loc="left"), axes.get_ylabel()) == (POOL, "$/h")
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 0.03


def test_times_are_utc_whatever_the_zone_of_the_host_gr5(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.dates

    monkeypatch.setitem(matplotlib.rcParams, "timezone", "America/New_York")
    figure = picture(POOL, points(*range(12 * 24)), None)
    figure.canvas.draw()
    ticks = [matplotlib.dates.num2date(at, tz="UTC") for at in figure.axes[0].get_xticks()]
    assert {(at.hour % 3, at.minute) for at in ticks} == {(0, 0)}
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels[[at.hour for at in ticks].index(3)] == "03:00"


def test_a_png_has_pixels_in_the_colours_of_the_series(tmp_path: Path) -> None:
    file = tmp_path / "pool.png"
    plot(POOL, [*points(0, 1), *points(2, filled=True), *points(3, doubtful=True)], D("0.096"), file)
    import matplotlib.image

    image = matplotlib.image.imread(file)
    assert image.shape[:2] == (540, 1320)
    for colour in ("1f6feb", "d97706", "dc2626"):
        wanted = [int(colour[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        assert (abs(image[:, :, :3] - wanted).max(axis=2) < 0.02).any(), colour


def test_an_svg_is_whole_and_the_same_twice_with_its_date_left_out(tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.SVG"
    for file in (first, second):
        plot(POOL, points(0, 1, 2), None, file)
    assert ElementTree.parse(first).getroot().tag.endswith("svg")
    assert b"<dc:date>" not in first.read_bytes()


@pytest.mark.parametrize("name", ["pool", "pool.jpg", "pool.pdf", "png", "pool.png.gz"])
def test_a_name_that_says_no_known_form_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownFormat) as refused:
        plot(POOL, points(0), None, tmp_path / name)
    assert str(refused.value) == f"{tmp_path / name}: use a name that ends in .png or .svg"
    assert not list(tmp_path.iterdir())
