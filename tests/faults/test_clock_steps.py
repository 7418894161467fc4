"""The clock of a server's machine stepped by an hour, forward and back, with everything running.

What waits for seconds (pools, polls, outages, limits) goes by a clock that cannot be stepped. What is written down (leases,
deadlines, slots, signs of life) goes by the wall, and has to survive it.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import define

from tests.support.aftermath import all_is_well, rows
from tests.support.load import Balancer, Load, notices, registration, standby_of, with_replica
from tests.support.processes import until
from tests.support.stepped import SteppedClock, a_server

HOUR = 3_600


@define
class Site:
    """A server under a clock, and what calls it."""

    url: str
    clock: SteppedClock
    load: Load

    def beat(self, fleet: list[tuple[str, str]]) -> None:
        for agent, machine in fleet:
            body = {"status": "online", "instance_id": machine}
            answer = self.load.ask("POST", f"/api/agents/{agent}/heartbeat", body)
            assert (answer.status, answer.body["acknowledged"]) == (200, True)

    def online(self) -> int:
        return int(rows(self.url, "select count(*) from agents where link = 'online'")[0][0])

    def upkeep_goes_on(self) -> None:
        """It has taken two slots since, so that one has been worked off."""
        text = "select count(*) from job_slots where job = 'agent upkeep' and claimed_at between %s and %s"
        begun = self.clock.now()
        until(lambda: rows(self.url, text, (begun, self.clock.now()))[0][0] >= 2, 15)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def site(database_url: str, tmp_path: Path, clock: SteppedClock) -> Iterator[Site]:
    with a_server(database_url, tmp_path, clock) as port:
        load = Load(Balancer([port]), "")
        load.token = load.balancer.call("POST", "/api/admin/clients/create", {"name": "Acme"}).body["data"]["client"][
            "token"
        ]
        yield Site(database_url, clock, load)


def registered(site: Site, first: int, number: int) -> list[tuple[str, str]]:
    made = [registration(one) for one in range(first, first + number)]
    return [(site.load.ask("POST", "/api/agents/register", one).body["agent_id"], one["instance_id"]) for one in made]


def commands(site: Site, agent: str) -> list[str]:
    found = site.load.ask("GET", f"/api/agents/{agent}/pending-commands")
    assert found.status == 200
    return [one["request_id"] for one in found.body["commands"]]


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_stepped_clock_moves_no_role_and_keeps_nobody_offline_ag1_ag5(site: Site, seconds: int) -> None:
    fleet = registered(site, 1, 6)
    site.beat(fleet)
    site.beat(fleet)
    site.upkeep_goes_on()
    site.clock.step(seconds)
    site.upkeep_goes_on()
    assert site.online() == len(fleet)  # nobody could have been heard in an hour that was none
    site.beat(fleet)
    site.upkeep_goes_on()
    assert site.online() == len(fleet)
    primaries = "select agent_id, cloud_id from instances where status = 'running_primary' order by cloud_id"
    assert rows(site.url, primaries) == fleet
    assert rows(site.url, "select count(*) from switches") == [(0,)]
    all_is_well(site.url)
    due = rows(site.url, "select due_at from agents")  # whoever falls silent now is noticed by the time of now
    assert all(at <= site.clock.now() + timedelta(seconds=121) for (at,) in due)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["forward", "back"])
def test_notices_around_a_step_move_each_role_once_i8_i14(site: Site, seconds: int) -> None:
    """A primary period that began in what is the future now must still be able to end."""
    fleet = [with_replica(site.load.ask, number) for number in range(1, 7)]
    before, after = fleet[:3], fleet[3:]
    notices(before, site.load.insist, site.load.done)
    site.clock.step(seconds)
    site.upkeep_goes_on()  # the others' replicas are not taken for dead
    notices(before, site.load.insist, site.load.done)  # sent once more
    notices(after, site.load.insist, site.load.done)
    assert list(site.load.done.successors.values()) == [standby_of(number) for number in range(1, 7)]
    assert rows(site.url, "select count(*) from switches where trigger = 'emergency'") == [(6,)]
    all_is_well(site.url, site.load.done)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_command_that_was_fetched_is_never_open_twice_z13(site: Site, seconds: int) -> None:
    ((agent, machine),) = registered(site, 1, 1)
    site.beat([(agent, machine)])
    ordered = site.load.ask("POST", f"/api/client/instances/{machine}/force-switch", {"target": "ondemand"})
    assert ordered.status == 200, ordered
    (command,) = commands(site, agent)
    assert commands(site, agent) == []  # it is leased
    site.clock.step(seconds)
    site.upkeep_goes_on()
    again = [commands(site, agent) for _ in range(3)]
    assert sum(map(len, again)) <= (1 if seconds > 0 else 0)  # a lease that has run out is handed out once more
    assert {one for found in again for one in found} <= {command}
    open_now = rows(site.url, "select request_id, deliveries from commands where state in ('pending', 'executing')")
    assert open_now in ([], [(command, 1)], [(command, 2)])
    all_is_well(site.url)


def test_a_server_started_in_an_hour_that_was_lived_before_does_its_work_jb5(
    database_url: str, tmp_path: Path, clock: SteppedClock
) -> None:
    """Somebody else has had every slot of this hour; its clock was ahead, or was put back."""
    had = (
        "insert into job_slots (job, slot_start, claimed_by, claimed_at, finished_at) "
        "select 'agent upkeep', date_trunc('second', at), 'somebody', at + interval '1 hour', at + interval '1 hour' "
        "from generate_series(now(), now() + interval '5 minutes', interval '1 second') at returning 1"
    )
    rows(database_url, had)
    with a_server(database_url, tmp_path, clock) as port:
        Site(database_url, clock, Load(Balancer([port]), "")).upkeep_goes_on()
