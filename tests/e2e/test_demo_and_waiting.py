"""The main job as a newcomer runs it, and agents that wait for their commands (Z18, E103)."""

import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from spotapp.demo.prices import RecordedPrices
from spotcore.pools import Pool
from tests.support.up import TOKEN, Up


@pytest.mark.timeout(180)
def test_the_demo_tells_its_story_and_loses_nobody() -> None:
    command = [sys.executable, "-m", "spotapp.demo", "--headless"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "every noticed primary was replaced, every invariant held" in " ".join(done.stdout.split())
    assert done.stdout.count("failed over to") >= 5


def test_a_recorded_price_history_is_replayed(tmp_path: Path) -> None:
    rows = [
        {"AvailabilityZone": "eu-west-1a", "InstanceType": "m5.large", "SpotPrice": price, "Timestamp": at}
        for price, at in (("0.031", "2021-03-02T00:00:00+00:00"), ("0.035", "2021-03-02T01:00:00+00:00"))
    ]
    file = tmp_path / "history.json"
    file.write_text(json.dumps({"SpotPriceHistory": rows}))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    prices = RecordedPrices(file, start)
    pool = Pool("m5.large", "us-east-1a")
    assert prices.spot(pool, start) == Decimal("0.031")
    assert prices.spot(pool, start + timedelta(hours=2)) == Decimal("0.035")
    assert prices.spot(Pool("m5.large", "us-east-1b"), start) is None


def test_a_waiting_agent_gets_its_command_at_once_and_a_stream_too_z18(folder: Path) -> None:
    up = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN)
    token = up.post("/api/admin/clients/create", {"name": "Acme"}).json()["data"]["client"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    agents = {}
    for name in ("i-0a", "i-0b"):
        body = {
            "instance_id": name,
            "logical_agent_id": name,
            "instance_type": "m5.large",
            "region": "us-east-1",
            "az": "us-east-1a",
            "mode": "spot",
        }
        agents[name] = up.post("/api/agents/register", body, token).json()["agent_id"]
    got: list[tuple[float, list[dict[str, object]]]] = []

    def wait() -> None:
        answer = httpx2.get(
            f"{up.url}/api/agents/{agents['i-0a']}/pending-commands?wait=20", headers=headers, timeout=40
        )
        got.append((time.monotonic(), answer.json()["commands"]))

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.5)
    assert up.post("/api/client/instances/i-0a/force-switch", {"target": "ondemand"}, token).status_code == 200
    queued = time.monotonic()
    waiter.join(25)
    assert got[0][0] - queued < 2
    assert [one["command_type"] for one in got[0][1]] == ["switch"]
    empty = time.monotonic()
    answer = httpx2.get(
        f"{up.url}/api/agents/{agents['i-0b']}/pending-commands?wait=1", headers=headers, timeout=10, verify=False
    )
    assert answer.json()["commands"] == []
    assert 0.9 < time.monotonic() - empty < 4
    threading.Timer(
        0.5, lambda: up.post("/api/client/instances/i-0b/force-switch", {"target": "ondemand"}, token)
    ).start()
    stream = f"{up.url}/api/agents/{agents['i-0b']}/commands/stream?dialect=classic"
    with httpx2.stream("GET", stream, headers=headers, timeout=20, verify=False) as frames:
        assert frames.headers["content-type"].startswith("text/event-stream")
        lines = frames.iter_lines()
        event = next(line for line in lines if line.startswith("event:"))
        data = next(line for line in lines if line.startswith("data:"))
    assert event == "event: COMMAND"
    assert json.loads(data[5:])["target_mode"] == "ondemand"
    refused = httpx2.get(stream, headers={"Authorization": "Bearer wrong"}, timeout=10, verify=False)
    assert refused.status_code == 401
    assert up.stop() == 0
