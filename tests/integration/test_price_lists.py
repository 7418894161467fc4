"""``spotcore prices list-import``: on-demand prices, each counting from its own date (SV-5, P10), odd rows named."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from spotapp.cli import main
from spotcore.ids import ClientId
from tests.support.server import Site, Tenant

Run = Callable[..., Result]
HEAD = "instance_type,region,price,since\n"


@pytest.fixture
def url(shared_site: Site) -> str:
    return shared_site.connections.database_url


@pytest.fixture
def run(url: str) -> Run:
    def call(file: Path, *words: str) -> Result:
        return CliRunner().invoke(
            main, ["prices", "list-import", str(file), *words], env={"SPOTCORE_DATABASE_URL": url}
        )

    return call


def a_list(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def known(url: str, region: str) -> dict[str, tuple[Decimal, datetime | None]]:
    """Prices of a region that one test has for itself, by type; None: from ever."""
    with psycopg.connect(url) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(
            "select instance_type, price, nullif(since, '-infinity') from ondemand_list where region = %s", (region,)
        ).fetchall()
    return {kind: (price, since) for kind, price, since in rows}


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def on(year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


DATES: dict[str, datetime | str | None] = {
    "": None,  # from ever
    "2026-01": on(2026),
    "2026-01-15": on(2026, 1, 15),
    "2024-02-29": on(2024, 2, 29),
    "20260115": on(2026, 1, 15),
    "2026-01-15T12:00": on(2026, 1, 15, 12),
    "2026-01-15T12:00:00Z": on(2026, 1, 15, 12),
    "2026-01-15T12:00:00+05:45": on(2026, 1, 15, 6, 15),
    "2025-02-29": "no date",
    "2026-13": "no date",
    "2026": "no date",
    "spring": "no date",
    "15.01.2026": "no date",
}


def test_p10_a_price_counts_from_its_own_date_and_never_from_ever_because_that_cannot_be_read(
    run: Run, url: str, tmp_path: Path
) -> None:
    lines = [f"x{n}.large,dates-1,0.1,{text}\n" for n, text in enumerate(DATES)]
    data = told(run(a_list(tmp_path, HEAD + "".join(lines)), "--output", "json"))
    assert {kind: since for kind, (_, since) in known(url, "dates-1").items()} == {
        f"x{n}.large": since for n, since in enumerate(DATES.values()) if since != "no date"
    }
    assert data["rejected"] == [
        f"line {n}: {text!r} is no date; use 2026-01 or 2026-01-01"
        for n, (text, since) in enumerate(DATES.items(), 2)
        if since == "no date"
    ]


def test_p10_a_date_on_the_command_line_goes_before_those_of_the_file(run: Run, url: str, tmp_path: Path) -> None:
    file = a_list(tmp_path, HEAD + "x.large,since-1,0.1,2025-05\ny.large,since-1,0.2,spring\n")
    assert told(run(file, "--since", "2026-02-01", "--output", "json"))["rejected"] == []
    assert set(known(url, "since-1").values()) == {(Decimal("0.1"), on(2026, 2)), (Decimal("0.2"), on(2026, 2))}


PRICES: dict[str, str | None] = {
    "0.0416": "0.041600",
    "1000": "1000.000000",
    "0.0000015": "0.000002",
    "1e-1": "0.100000",
    "1000.0000001": None,
    "0.0000005": None,
    "0": None,
    "-1": None,
    "": None,
    "NaN": None,
    "sNaN": None,
    "Infinity": None,
    "cheap": None,
    "$0.1": None,
}


def test_dq2_a_listed_price_is_a_number_above_0_and_up_to_1000(run: Run, url: str, tmp_path: Path) -> None:
    lines = [f"x{n}.large,prices-1,{text},\n" for n, text in enumerate(PRICES)]
    data = told(run(a_list(tmp_path, HEAD + "".join(lines)), "--output", "json"))
    assert {kind: str(price) for kind, (price, _) in known(url, "prices-1").items()} == {
        f"x{n}.large": kept for n, kept in enumerate(PRICES.values()) if kept is not None
    }
    assert data["rejected"] == [
        f"line {n}: {text!r} is no price above 0 and up to 1,000"
        for n, (text, kept) in enumerate(PRICES.items(), 2)
        if kept is None
    ]
    assert data["rows"] == len(PRICES)


def test_rows_without_type_or_region_and_short_rows_are_named(run: Run, tmp_path: Path) -> None:
    file = a_list(tmp_path, HEAD + ",places-1,0.1,\nx.large,,0.1,\nx.large\n")
    data = told(run(file, "--output", "json"))
    assert data["rejected"] == [f"line {n}: no type or no region" for n in (2, 3, 4)]
    assert (data["rows"], data["new_or_changed"]) == (3, 0)


@pytest.mark.parametrize(
    ("head", "region"),
    [
        ("instance_type,region,price", "names-1"),
        ("type,region,od_usd_h", "names-2"),
        ("InstanceType,Region,ondemand_price", "names-3"),
        ("type,region,price_usd_h", "names-4"),
    ],
)
def test_columns_go_by_several_names(run: Run, url: str, tmp_path: Path, head: str, region: str) -> None:
    assert told(run(a_list(tmp_path, f"{head}\nx.large,{region},0.1\n"), "--output", "json"))["new_or_changed"] == 1
    assert known(url, region) == {"x.large": (Decimal("0.1"), None)}


def test_the_same_list_changes_nothing_and_another_price_changes_its_row(run: Run, url: str, tmp_path: Path) -> None:
    def brought(price: str, since: str) -> int:
        file = a_list(tmp_path, f"{HEAD}x.large,again-1,{price},{since}\n")
        return int(told(run(file, "--output", "json"))["new_or_changed"])

    assert [brought("0.1", "2026-01"), brought("0.10", "2026-01-01"), brought("0.2", "2026-01")] == [1, 0, 1]
    assert brought("0.3", "2026-02") == 1
    with psycopg.connect(url) as connection:
        rows = connection.execute("select price from ondemand_list where region = 'again-1' order by since").fetchall()
    assert rows == [(Decimal("0.2"),), (Decimal("0.3"),)]


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "cut": (HEAD + "x.large,cut-1,0.09", "its last line does not end, so it may have been cut"),
    "empty": ("", "its last line does not end"),
    "in UTF-16": ((HEAD + "x.large,cut-1,0.1,\n").encode("utf-16-le") + b"\n", "columns missing"),
    "in Latin-1": (HEAD.encode() + b"x\xe9.large,cut-1,0.1,\n", "not a table in UTF-8"),
    "another table": ("a,b,c\n1,2,3\n", "columns missing: type, region, price"),
    "without prices": ("type,region\nx.large,cut-1\n", "columns missing: price"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_list_that_cannot_be_right_as_a_whole_is_refused_and_brings_nothing(
    run: Run, url: str, tmp_path: Path, what: str
) -> None:
    """A price of 0.096 that was cut to 0.09 would have looked right."""
    content, words = REFUSED[what]
    result = run(a_list(tmp_path, content))
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())
    assert known(url, "cut-1") == {}


def test_a_byte_order_mark_is_no_part_of_the_first_name(run: Run, url: str, tmp_path: Path) -> None:
    told(run(a_list(tmp_path, "\ufeff" + HEAD + "x.large,bom-1,0.1,\n"), "--output", "json"))
    assert set(known(url, "bom-1")) == {"x.large"}


def test_a_person_is_told_how_many_rows_and_the_first_ten_that_were_wrong(run: Run, tmp_path: Path) -> None:
    lines = "".join(f"x{n}.large,person-1,0,\n" for n in range(15))
    result = run(a_list(tmp_path, HEAD + lines))
    assert result.exit_code == 0
    assert result.stderr.count("is no price") == 10
    assert "15" in result.stdout


# who looks at the list (Z33)


def registered(site: Site, kind: str) -> tuple[Tenant, str, str]:
    """An agent of a type of its own that reports on-demand 0.2, which the list will contradict."""
    tenant, machine = site.client(f"client of {kind}"), site.new_machine()
    body = {
        "instance_id": machine, "logical_agent_id": kind, "instance_type": kind, "region": "us-east-1",
        "az": "us-east-1a", "mode": "spot",
    }  # fmt: skip
    agent_id = tenant.post("/api/agents/register", body).data["agent_id"]
    report(tenant, agent_id, machine, kind, ondemand=0.2)
    return tenant, agent_id, machine


def report(tenant: Tenant, agent_id: str, machine: str, kind: str, *, ondemand: float, spot: float = 0.05) -> None:
    pool = f"{kind}.us-east-1a"
    body = {
        "instance": {"instance_id": machine, "instance_type": kind, "region": "us-east-1", "az": "us-east-1a",
                     "mode": "spot", "pool_id": pool},
        "pricing": {"on_demand_price": ondemand, "current_spot_price": spot,
                    "spot_pools": [{"pool_id": pool, "instance_type": kind, "az": "us-east-1a", "price": spot}]},
    }  # fmt: skip
    assert tenant.post(f"/api/agents/{agent_id}/pricing-report", body).status == 200


def quoted(tenant: Tenant, kind: str) -> Decimal | None:
    """The on-demand price that decisions are made on."""
    with tenant.site.storage.transactions() as uow:
        market = uow.prices.market(ClientId(tenant.client_id), kind, "us-east-1", tenant.site.clock.now())
    return market.ondemand_price()


def test_z33_decisions_and_screens_take_the_list_before_what_agents_say(
    shared_site: Site, run: Run, tmp_path: Path
) -> None:
    tenant, _, machine = registered(shared_site, "list1.large")
    assert quoted(tenant, "list1.large") == Decimal("0.2")
    told(run(a_list(tmp_path, HEAD + "list1.large,us-east-1,0.12,2020-01-01\n"), "--output", "json"))
    assert quoted(tenant, "list1.large") == Decimal("0.12")
    shown = tenant.get(f"/api/client/instances/{machine}/pricing").data
    assert shown["onDemand"]["price"] == 0.12


def test_z33_a_price_of_the_future_does_not_count_yet_and_the_newest_of_the_past_does(
    shared_site: Site, run: Run, tmp_path: Path
) -> None:
    tenant, _, _ = registered(shared_site, "list2.large")
    rows = "".join(f"list2.large,us-east-1,{price},{since}\n" for price, since in
                   (("0.30", "2020-01-01"), ("0.31", "2025-01-01"), ("0.32", "2099-01-01")))  # fmt: skip
    told(run(a_list(tmp_path, HEAD + rows), "--output", "json"))
    assert quoted(tenant, "list2.large") == Decimal("0.31")
    assert quoted(tenant, "list3.large") is None  # another type


def test_dq_8_what_looks_like_a_fallback_is_believed_when_the_list_agrees(
    shared_site: Site, run: Run, tmp_path: Path
) -> None:
    flagged = {}
    for kind, listed in (("list4.large", "0.15"), ("list5.large", "0.40")):
        tenant, agent_id, machine = registered(shared_site, kind)
        told(run(a_list(tmp_path, HEAD + f"{kind},us-east-1,{listed},2020-01-01\n"), "--output", "json"))
        shared_site.clock.advance(300)
        report(tenant, agent_id, machine, kind, ondemand=0.15)  # three times the mean of 0.05
        rows = shared_site.connections.rows(
            "select flagged from ondemand_prices where instance_type = %(kind)s and price = 0.15", {"kind": kind}
        )
        flagged[kind] = [row[0] for row in rows]
    assert flagged == {"list4.large": [False], "list5.large": [True]}
