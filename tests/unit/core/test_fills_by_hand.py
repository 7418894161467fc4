"""Fills worked out by hand: straight lines, weighted means, peers; what is an anchor and what is not (8.2, P4…P7)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from spotcore.gaps import Gap, GapLevel, fill_gaps, find_gaps, is_mostly_filled
from spotcore.quality import FillMethod

D = Decimal
STEP = timedelta(minutes=5)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWN, B, C, E, F = (f"m5.large.us-east-1{zone}" for zone in "abcef")
LINE, MEAN, CROSS, ALONE = (
    FillMethod.LINEAR, FillMethod.WEIGHTED_MEAN, FillMethod.CROSS_POOL, FillMethod.LINEAR_WITHOUT_PEERS,
)  # fmt: skip
Known = Mapping[int, str]


def fills(own: Known, *peers: Known, origin: datetime = NOON) -> dict[int, tuple[str, FillMethod]]:
    """The own pool's fills by bucket."""
    group = {
        name: {origin + n * STEP: D(price) for n, price in series.items()}
        for name, series in zip((OWN, B, C, E, F), (own, *peers), strict=False)
    }
    return {(row.bucket_start - origin) // STEP: (str(row.price), row.method) for row in fill_gaps(group)[OWN]}


# --- one and two: a straight line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({0: "0.03", 2: "0.05"}, {1: "0.040000"}),
        ({0: "0.05", 2: "0.03"}, {1: "0.040000"}),
        ({0: "0.03", 3: "0.06"}, {1: "0.040000", 2: "0.050000"}),
        ({0: "0.06", 3: "0.03"}, {1: "0.050000", 2: "0.040000"}),
        ({0: "0.030000", 3: "0.030001"}, {1: "0.030000", 2: "0.030001"}),  # a third and two thirds of a millionth
        ({0: "0.000001", 2: "0.000002"}, {1: "0.000002"}),  # 1.5 to the even neighbour
        ({0: "0.000002", 2: "0.000003"}, {1: "0.000002"}),  # 2.5 to the even neighbour
        ({0: "1000", 2: "999"}, {1: "999.500000"}),
        ({0: "0.03", 2: "0.05", 4: "0.01"}, {1: "0.040000", 3: "0.030000"}),
    ],
    ids=str,
)
def test_a_gap_of_one_or_two_is_a_straight_line(own: Known, wanted: Known) -> None:
    assert fills(own) == {n: (price, LINE) for n, price in wanted.items()}


def test_a_straight_line_asks_no_peer_and_no_other_neighbour() -> None:
    peers = [dict.fromkeys(range(-10, 20), "9")] * 3
    assert fills({-1: "9", 0: "0.03", 2: "0.05", 3: "9"}, *peers) == {1: ("0.040000", LINE)}


# --- three to six: the six nearest within an hour ----------------------------------------------------------------


def test_a_gap_of_three_weighs_three_neighbours_on_either_side() -> None:
    own = {-2: "0.02", -1: "0.03", 0: "0.04", 4: "0.05", 5: "0.06", 6: "0.07"}
    assert fills(own) == {
        1: ("0.041023", MEAN),  # weights 1/301 1/601 1/901 before it, 1/901 1/1201 1/1501 after it
        2: ("0.045000", MEAN),  # as many and as far on either side
        3: ("0.048977", MEAN),
    }


def test_a_gap_of_six_with_its_neighbours_alone() -> None:
    prices = ("0.040024", "0.050014", "0.060005", "0.069995", "0.079986", "0.089976")
    assert fills({0: "0.03", 7: "0.10"}) == {n: (price, MEAN) for n, price in enumerate(prices, 1)}


def test_p4_each_bucket_has_its_own_six_nearest() -> None:
    """Seven measured before the gap and one after: the first bucket does not reach the one after, the last does."""
    own = dict.fromkeys(range(-6, 1), "0.03") | {7: "0.09"}
    found = fills(own)
    assert found[1] == ("0.030000", MEAN)  # 1, 2, 3, 4, 5, 6 steps back; 6 steps on is as near as the sixth, and later
    assert found[2][0] > "0.030000"  # five steps on is nearer than the sixth
    assert found[6][0] > found[5][0] > found[2][0]


def test_p4_of_two_as_near_the_earlier_is_taken() -> None:
    """Bucket 1: six within reach before it, the sixth six steps back, and one six steps on."""
    before = dict.fromkeys(range(-4, 1), "0.03")
    assert fills({**before, -5: "0.01", 7: "0.09"})[1][0] < "0.030000"
    assert fills({**before, -5: "0.01", 7: "0.01"})[1] == fills({**before, -5: "0.01", 7: "0.09"})[1]


def test_p4_an_hour_is_counted_from_the_ends_of_the_gap_not_from_the_bucket() -> None:
    """Gap 1…3; an hour before 1 is −11, an hour after 3 is 15: just inside, and one step further just outside."""
    plain = fills({0: "0.04", 4: "0.04"})
    for inside, outside in ((-11, -12), (15, 16)):
        assert fills({inside: "0.08", 0: "0.04", 4: "0.04"}) != plain
        beyond = fills({outside: "0.08", 0: "0.04", 4: "0.04"})
        assert {n: beyond[n] for n in plain} == plain
    assert fills({-11: "0.08", 0: "0.04", 4: "0.04"})[1] == ("0.042358", MEAN)  # 1/301, 1/901 and 1/3601


def test_gf3_a_filled_bucket_is_no_neighbour_of_another_gap() -> None:
    """Two gaps of three, two measured buckets between them: what fills one has no say in the other."""
    own = {0: "0.01", 4: "0.05", 5: "0.05", 9: "0.09"}
    found = fills(own)
    assert set(found) == {1, 2, 3, 6, 7, 8}
    only_measured = fills({0: "0.01", 4: "0.05", 5: "0.05", 9: "0.09", 40: "0.05"})
    assert {n: row for n, row in only_measured.items() if n < 10} == found
    # bucket 6: 5, 4 and 9, 0 measured: 300, 600, 900, 1800 s
    weights = [D(1) / D(n + 1) for n in (300, 600, 900, 1800)]
    prices = [D("0.05"), D("0.05"), D("0.09"), D("0.01")]
    mean = sum(w * p for w, p in zip(weights, prices, strict=True)) / sum(weights)
    assert D(found[6][0]) == mean.quantize(D("0.000001"))


# --- seven to twenty-four: as the peers moved --------------------------------------------------------------------


def flat(price: str, **moved: str) -> dict[int, str]:
    """A peer measured from 0 to 8, at one price but where it is said to have moved (``at_4``)."""
    return {n: moved.get(f"at_{n}", price) for n in range(9)}


OWN_8 = {0: "0.04", 8: "0.08"}  # a straight line rises by 0.005 a bucket


@pytest.mark.parametrize(
    ("peers", "wanted"),
    [
        ([flat("0.1"), flat("0.2")], ("0.060000", CROSS)),  # nobody moved: the line itself
        ([flat("0.1", at_4="0.2"), flat("0.2", at_4="0.4")], ("0.120000", CROSS)),
        ([flat("0.1", at_4="0.05"), flat("0.2", at_4="0.1")], ("0.030000", CROSS)),
        ([flat("0.1", at_4="0.2"), flat("0.2")], ("0.090000", CROSS)),  # of two their mean: 1.5
        ([flat("0.1", at_4="0.2"), flat("0.1", at_4="0.3"), flat("0.1")], ("0.120000", CROSS)),  # of 1, 2, 3 the 2
        ([flat("0.1", at_4=p) for p in ("0.1", "0.12", "0.14", "9")], ("0.078000", CROSS)),  # mean of 1.2 and 1.4
        ([flat("0.1", at_4="0.2")], ("0.060000", ALONE)),
        ([], ("0.060000", ALONE)),
    ],
)
def test_gf2_the_own_line_times_the_median_of_the_peers_own_ratios(
    peers: list[Known], wanted: tuple[str, FillMethod]
) -> None:
    assert fills(OWN_8, *peers)[4] == wanted


def test_gf2_a_ratio_is_to_the_peers_own_line_not_to_its_start() -> None:
    """Peers that rise evenly have not moved against their line."""
    rising = {n: str(D("0.10") + n * D("0.01")) for n in range(9)}
    found = fills(OWN_8, rising, rising)
    assert found == {n: (f"0.{45 + 5 * (n - 1):03}000", CROSS) for n in range(1, 8)}


def test_p5_peers_are_chosen_bucket_by_bucket_so_that_confidence_may_differ_inside_one_gap() -> None:
    hole = {n: price for n, price in flat("0.1").items() if n != 3}
    methods = {n: method for n, (_, method) in fills(OWN_8, flat("0.1"), hole).items()}
    assert methods == {n: ALONE if n == 3 else CROSS for n in range(1, 8)}


@pytest.mark.parametrize("end", [0, 8])
def test_p5_a_peer_without_one_end_of_the_gap_does_not_count(end: int) -> None:
    cut = {n: price for n, price in flat("0.1").items() if n != end}
    assert {method for _, method in fills(OWN_8, flat("0.1"), cut).values()} == {ALONE}


def test_gf3_a_peers_own_fill_is_no_measurement() -> None:
    """Two peers have the same hole: what fills it there is not used here."""
    hole = {n: price for n, price in flat("0.1").items() if n not in (3, 4)}
    methods = {n: method for n, (_, method) in fills(OWN_8, hole, hole, flat("0.1")).items()}
    assert methods == {n: ALONE if n in (3, 4) else CROSS for n in range(1, 8)}


@pytest.mark.parametrize(
    ("own", "ratio", "wanted"),
    [
        ("0.04", "0.00001", ("0.040000", ALONE)),  # rounds to 0
        ("0.04", "0.000013", ("0.000001", CROSS)),
        ("0.3", "5000", ("0.300000", ALONE)),  # 1 500 $/h
        ("0.2", "5000", ("1000.000000", CROSS)),
        ("0.1", "2", ("0.200000", CROSS)),
    ],
)
def test_dq2_a_product_that_is_no_valid_price_gives_way_to_the_line(
    own: str, ratio: str, wanted: tuple[str, FillMethod]
) -> None:
    moved = flat("0.1", at_4=str(D("0.1") * D(ratio)))
    assert fills({0: own, 8: own}, moved, moved)[4] == wanted


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [(1, LINE), (2, LINE), (3, MEAN), (6, MEAN), (7, CROSS), (24, CROSS), (25, None), (300, None)],
)
def test_8_2_what_fills_a_gap_of_each_length_when_there_are_peers(missing: int, wanted: FillMethod | None) -> None:
    peers = [dict.fromkeys(range(missing + 2), "0.1")] * 2
    found = fills({0: "0.04", missing + 1: "0.04"}, *peers)
    assert set(found.values()) == ({("0.040000", wanted)} if wanted else set())
    assert len(found) == (missing if wanted else 0)


# --- time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        datetime(2024, 2, 28, 23, 55, tzinfo=UTC),  # into the leap day
        datetime(2024, 2, 29, 23, 55, tzinfo=UTC),
        datetime(2023, 2, 28, 23, 55, tzinfo=UTC),
        datetime(2026, 3, 8, 6, 55, tzinfo=UTC),  # New York sets its clocks forward
        datetime(2025, 12, 31, 23, 55, tzinfo=UTC),
    ],
    ids=lambda at: at.strftime("%Y-%m-%d"),
)
def test_gr5_no_calendar_changes_what_is_filled(origin: datetime) -> None:
    own = {0: "0.03", 3: "0.06", 7: "0.06", 15: "0.02"}
    peers = [{n: str(D("0.1") + D(n) / 1000) for n in range(16)}] * 2
    assert fills(own, *peers, origin=origin) == fills(own, *peers)


def test_gf1_gaps_are_told_oldest_first_with_their_ends_and_level() -> None:
    measured = {NOON + n * STEP: D("0.03") for n in (30, 0, 2, 5, 12, 20)}
    assert list(find_gaps(OWN, measured)) == [
        Gap(pool_id=OWN, before=NOON + a * STEP, after=NOON + b * STEP)
        for a, b in ((0, 2), (2, 5), (5, 12), (12, 20), (20, 30))
    ]
    levels = [(gap.missing, gap.level, gap.is_filled) for gap in find_gaps(OWN, measured)]
    assert levels == [
        (1, None, True), (2, GapLevel.INFO, True), (6, GapLevel.INFO, True), (7, GapLevel.WARNING, True),
        (9, GapLevel.WARNING, True),
    ]  # fmt: skip


@pytest.mark.parametrize("measured", [{}, {0: "0.03"}, {0: "0.03", 1: "0.04"}])
def test_gf4_open_ends_are_no_gaps(measured: Known) -> None:
    assert fills(measured, dict.fromkeys(range(-20, 20), "0.1"), dict.fromkeys(range(-20, 20), "0.1")) == {}


@pytest.mark.parametrize(
    ("measured", "filled", "mostly"),
    [(0, 1, True), (4, 1, False), (3, 1, True), (231, 57, False), (230, 58, True), (288, 0, False)],
)
def test_gf7_mostly_filled_is_more_than_a_fifth_of_the_day(measured: int, filled: int, mostly: bool) -> None:
    assert is_mostly_filled(measured, filled) is mostly
