"""Notifications by webhook and library: made once, signed, tried until accepted, given up after a day, replayed."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from spotadapters.channels.courier import Courier
from spotadapters.channels.sending import new_secret, require_address, signature
from spotadapters.postgres.channels import Channels
from spotadapters.postgres.live import LiveFeed
from spotadapters.system.identity import SecureIdentity
from spotcore.channels import ChannelKind, DeliveryState
from spotcore.errors import NotFound, ValidationFailed
from spotcore.events import Level
from tests.support.receiver import Receiver, a_receiver
from tests.support.server import Site, Tenant
from tests.support.wire_agents import V4c


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as opened:
        yield opened


@pytest.fixture
def channels(site: Site) -> Channels:
    return Channels(site.connections, site.clock, site.identity)


@pytest.fixture
def tenant(site: Site) -> Tenant:
    tenant = site.client("Acme")
    publish(site)  # what its creation left
    return tenant


def publish(site: Site) -> None:
    LiveFeed(site.connections, site.clock).publish()


def run(channels: Channels) -> int:
    return Courier(channels).run()


def test_a_notification_is_delivered_once_signed_and_with_its_facts(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    agent = V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web")
    agent.register()
    publish(site)
    publish(site)
    assert run(channels) == 1
    assert run(channels) == 0
    ((headers, body),) = receiver.calls
    told = json.loads(body)
    assert told["type"] == "agent_registered"
    assert told["data"]["client_id"] == tenant.client_id
    assert told["data"]["agent_id"] == agent.agent_id
    assert "web" in told["data"]["message"]
    assert headers["webhook-id"] == told["data"]["id"]
    assert headers["webhook-timestamp"] == str(int(site.clock.now().timestamp()))
    key = base64.b64decode((made.secret or "").removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_published_example() -> None:
    """Standard Webhooks 1.0, the reference vector of its libraries."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_another_clients_notification_goes_nowhere_and_the_operators_channel_hears_all(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    other = site.client("Other")
    publish(site)
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    channels.add(None, ChannelKind.WEBHOOK, receiver.url + "/all", Level.INFO)
    V4c(other, "i-0bbbbbbbbbbbbbbb1", logical="theirs").register()
    publish(site)
    run(channels)
    assert [one["data"]["client_id"] for one in receiver.bodies()] == [other.client_id]


def test_less_than_the_least_severity_is_not_told(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.CRITICAL)
    agent = V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web")
    agent.register()
    publish(site)
    assert run(channels) == 0
    agent.termination()
    publish(site)
    run(channels)
    assert {one["data"]["severity"] for one in receiver.bodies()} == {"critical"}


def test_a_refusing_receiver_is_tried_again_with_the_same_id_until_it_accepts(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web").register()
    publish(site)
    receiver.status = 503
    run(channels)
    assert run(channels) == 0  # not due yet
    (row,) = channels.deliveries(None, 10)
    assert (row["state"], row["attempts"], row["last_error"]) == ("pending", 1, "answered 503")
    receiver.status = 200
    site.clock.advance(6)
    run(channels)
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
    assert len(receiver.calls) == 2
    (row,) = channels.deliveries("delivered", 10)
    assert row["attempts"] == 2


def test_after_a_day_a_delivery_is_given_up_and_a_person_can_replay_it(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web").register()
    publish(site)
    receiver.status = 500
    for _ in range(12):
        run(channels)
        site.clock.advance(13 * 3_600)
    (row,) = channels.deliveries("dead", 10)
    assert (len(receiver.calls), row["attempts"]) == (10, 10)
    receiver.status = 204
    channels.replay(row["delivery_id"])
    run(channels)
    assert [one["state"] for one in channels.deliveries(None, 10)] == ["delivered"]
    with pytest.raises(NotFound, match="dead delivery"):
        channels.replay(row["delivery_id"])


def test_a_receiver_that_is_gone_is_asked_once(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web").register()
    publish(site)
    receiver.status = 410
    run(channels)
    site.clock.advance(86_400)
    assert run(channels) == 0
    assert len(channels.deliveries("dead", 10)) == 1


def test_a_redirect_is_not_followed(tenant: Tenant, channels: Channels, receiver: Receiver) -> None:
    made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    receiver.status = 302
    assert channels.test(made.channel_id).error == "answered 302"
    assert len(receiver.calls) == 1


def test_two_couriers_at_once_deliver_once(site: Site, tenant: Tenant, channels: Channels, receiver: Receiver) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    for number in range(8):
        V4c(tenant, f"i-0aaaaaaaaaaaaaaa{number}", logical=f"web-{number}").register()
    publish(site)
    threads = [threading.Thread(target=run, args=(channels,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [headers["webhook-id"] for headers, _ in receiver.calls]
    assert len(ids) == len(set(ids)) == 8


def test_an_attempt_that_died_with_its_process_is_made_again_after_its_lease(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web").register()
    publish(site)
    (delivery_id,) = channels.due()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(channels, "_sent", killed)
        with pytest.raises(KeyboardInterrupt):
            channels.attempt(delivery_id)
    assert channels.due() == []
    site.clock.advance(91)
    assert run(channels) == 1
    assert len(receiver.calls) == 1


def test_while_a_queue_can_be_reached_workers_deliver_and_without_it_the_courier_does(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web").register()
    publish(site)
    courier, sent = Courier(channels), list[str]()
    courier.send = sent.append
    assert (courier.run(), len(sent), receiver.calls) == (1, 1, [])

    def away(_: str) -> None:
        raise ConnectionError

    courier.send = away
    courier.run()
    assert len(receiver.calls) == 1


def test_a_test_message_says_what_came_of_it(tenant: Tenant, channels: Channels, receiver: Receiver) -> None:
    made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.CRITICAL)
    assert channels.test(made.channel_id).error is None
    assert receiver.bodies()[0]["type"] == "test"
    closed = channels.add(tenant.client_id, ChannelKind.WEBHOOK, "http://127.0.0.1:1/x", Level.INFO)
    assert channels.test(closed.channel_id).error == "ConnectError"
    with pytest.raises(NotFound, match="unknown channel"):
        channels.test("nobody")


def test_a_library_address_is_spoken_to_by_the_library(tenant: Tenant, channels: Channels, receiver: Receiver) -> None:
    address = receiver.url.replace("http://", "json://")
    made = channels.add(tenant.client_id, ChannelKind.APPRISE, address, Level.INFO)
    assert made.secret is None
    assert channels.test(made.channel_id).error is None
    assert "the channel works" in receiver.calls[0][1].decode()
    receiver.status = 500
    assert channels.test(made.channel_id).error == "was not accepted"


@pytest.mark.parametrize(
    ("kind", "address", "words"),
    [
        (ChannelKind.WEBHOOK, "http://example.com/x", "needs https"),
        (ChannelKind.WEBHOOK, "ftp://example.com/x", "an address like https"),
        (ChannelKind.WEBHOOK, "not an address", "an address like https"),
        (ChannelKind.WEBHOOK, "", "an address like https"),
        (ChannelKind.APPRISE, "nonsense://x", "not an address the library knows"),
        (ChannelKind.APPRISE, "someone@example.com", "not an address the library knows"),
    ],
)
def test_an_address_that_cannot_work_is_refused_with_one_that_would(
    kind: ChannelKind, address: str, words: str
) -> None:
    with pytest.raises(ValidationFailed, match=words):
        require_address(kind, address)


def test_what_people_see_of_an_address_holds_no_secret(tenant: Tenant, channels: Channels) -> None:
    channels.add(tenant.client_id, ChannelKind.WEBHOOK, "https://example.com/hooks/s3cret?key=s3cret", Level.INFO)
    channels.add(tenant.client_id, ChannelKind.APPRISE, "json://user:s3cret@example.com/s3cret", Level.INFO)
    assert "s3cret" not in repr(channels.listed())
    stored = channels._connections.rows("select to_jsonb(c)::text from channels c", {})
    assert "s3cret" not in repr(stored)


def test_without_a_seal_key_or_a_client_nothing_is_kept(site: Site, channels: Channels) -> None:
    unsealed = Channels(site.connections, site.clock, SecureIdentity(None))
    with pytest.raises(ValidationFailed, match="SPOTCORE_SEAL_KEY"):
        unsealed.add(None, ChannelKind.WEBHOOK, "https://example.com/", Level.INFO)
    with pytest.raises(NotFound, match="unknown client"):
        channels.add("nobody", ChannelKind.WEBHOOK, "https://example.com/", Level.INFO)
    assert channels.listed() == []


def test_with_another_seal_key_a_delivery_says_so_sends_nothing_and_waits_for_the_right_one(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    stranger = Channels(site.connections, site.clock, SecureIdentity(bytes(32)))
    assert "another key" in (stranger.test(made.channel_id).error or "")
    assert receiver.calls == []
    assert [one["state"] for one in channels.deliveries(None, 5)] == [DeliveryState.PENDING]
    site.clock.advance(10)
    (delivery_id,) = channels.due()
    attempt = channels.attempt(delivery_id)
    assert attempt is not None
    assert attempt.error is None
    assert len(receiver.calls) == 1


def test_a_removed_channel_forgets_its_deliveries(
    site: Site, tenant: Tenant, channels: Channels, receiver: Receiver
) -> None:
    made = channels.add(tenant.client_id, ChannelKind.WEBHOOK, receiver.url, Level.INFO)
    V4c(tenant, "i-0aaaaaaaaaaaaaaa1", logical="web").register()
    publish(site)
    channels.remove(made.channel_id)
    assert run(channels) == 0
    assert channels.deliveries(None, 5) == []
    with pytest.raises(NotFound, match="channels list"):
        channels.remove(made.channel_id)


def test_new_secrets_are_long_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert all(len(base64.b64decode(one.removeprefix("whsec_"))) == 24 for one in secrets)
