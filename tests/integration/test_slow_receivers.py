"""A receiver that never comes to an end costs its own channel an attempt, and nobody else anything."""

import time
import tracemalloc
from collections.abc import Iterator

import pytest

from spotadapters.channels.courier import Courier
from spotadapters.channels.sending import Notice, new_secret, send
from spotadapters.postgres.channels import Channels
from spotadapters.postgres.live import LiveFeed
from spotcore.channels import Attempt, ChannelKind
from spotcore.events import Level
from tests.support.receiver import a_receiver
from tests.support.server import Site, Tenant
from tests.support.slow_receivers import a_slow_receiver, body_byte_by_byte, header_by_header, without_end
from tests.support.wire_agents import V4c
from tests.support.world import START

SECONDS = 0.5


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """The first message of a process loads a library, which takes its time here."""
    notice = Notice(notice_id="n", kind="test", severity="info", message="m", at=START)
    with a_receiver() as receiver:
        assert send(ChannelKind.WEBHOOK, receiver.url, new_secret(), notice, START, seconds=30) == Attempt()


@pytest.fixture
def channels(site: Site) -> Channels:
    limits = dict.fromkeys(ChannelKind, SECONDS)
    return Channels(site.connections, site.clock, site.identity, limits=limits)


@pytest.fixture
def tenant(site: Site) -> Tenant:
    tenant = site.client("Acme")
    publish(site)  # what its creation left
    return tenant


@pytest.fixture
def hurried() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 8 * SECONDS


def publish(site: Site) -> None:
    LiveFeed(site.connections, site.clock).publish()


def register(tenant: Tenant, number: int) -> None:
    V4c(tenant, f"i-0aaaaaaaaaaaaa{number:03}", logical=f"web-{number}").register()


@pytest.mark.usefixtures("hurried")
def test_a_webhook_whose_head_never_ends_is_left_in_time_and_tried_again(tenant: Tenant, channels: Channels) -> None:
    with a_slow_receiver(header_by_header) as receiver:
        made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
        assert channels.test(made.channel_id) == Attempt(error="took longer than 0.5 s")
    (row,) = channels.deliveries(None, 5)
    assert (row["state"], row["attempts"], row["last_error"]) == ("pending", 1, "took longer than 0.5 s")


@pytest.mark.usefixtures("hurried")
def test_a_library_that_is_kept_waiting_is_left_in_time(tenant: Tenant, channels: Channels) -> None:
    with a_slow_receiver(body_byte_by_byte) as receiver:
        address = receiver.url.replace("http://", "json://")
        made = channels.add(tenant.client_id, ChannelKind.APPRISE, address, Level.INFO)
        assert channels.test(made.channel_id) == Attempt(error="took longer than 0.5 s")


def test_a_webhook_is_judged_by_its_status_and_its_body_is_not_read(site: Site, tenant: Tenant) -> None:
    channels = Channels(site.connections, site.clock, site.identity)
    for answer in (body_byte_by_byte, without_end):
        with a_slow_receiver(answer) as receiver:
            made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
            tracemalloc.start()
            try:
                assert channels.test(made.channel_id) == Attempt()
                assert tracemalloc.get_traced_memory()[1] < 16 << 20
            finally:
                tracemalloc.stop()


def test_a_slow_channel_has_no_more_than_its_attempts_at_once_and_the_others_none_the_less(
    site: Site, tenant: Tenant, channels: Channels
) -> None:
    with a_slow_receiver(header_by_header) as slow, a_receiver() as quick:
        channels.add(tenant.client_id, ChannelKind.WEBHOOK, slow.url, Level.INFO)
        for number in range(12):
            register(tenant, number)
        publish(site)
        channels.add(tenant.client_id, ChannelKind.WEBHOOK, quick.url, Level.INFO)
        for number in range(12, 18):
            register(tenant, number)
        publish(site)
        courier = Courier(channels, round_seconds=0.1)
        begun = time.monotonic()
        while len(quick.calls) < 6:
            courier.run()
            assert time.monotonic() - begun < 10
        for _ in range(4):
            courier.run()
        assert 0 < slow.taken <= 2 * (1 + (time.monotonic() - begun) / SECONDS)
        courier.close()
