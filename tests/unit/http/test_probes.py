"""Probes and metrics: what watches a process, and says nothing about a tenant."""

import re

from tests.unit.http.frame import AWAY, Frame


def test_a_process_is_alive_while_its_database_is_away_and_not_ready(frame: Frame) -> None:
    assert frame.call("GET", "/livez", None).json()["data"] == {"alive": True}
    assert frame.call("GET", "/readyz", None).json()["data"] == {"ready": True, "database": "connected"}
    frame.storage.failure = AWAY
    assert frame.call("GET", "/livez", None).status_code == 200
    away = frame.call("GET", "/readyz", None)
    assert (away.status_code, away.json()["code"]) == (503, "UNAVAILABLE")
    frame.storage.failure = None
    assert frame.call("GET", "/readyz", None).status_code == 200


def test_metrics_are_the_operators(frame: Frame) -> None:
    _, token = frame.client()
    assert frame.call("GET", "/metrics", None).status_code == 401
    assert frame.call("GET", "/metrics", token).status_code == 401
    page = frame.call("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert "content-disposition" not in page.headers


def test_requests_are_counted_by_endpoint_and_status_and_no_label_is_an_id(frame: Frame) -> None:
    _, token = frame.client()
    agent_id = frame.agent(token)
    for _ in range(3):
        frame.call("POST", f"/api/agents/{agent_id}/heartbeat", token, json={})
    frame.call("POST", "/api/agents/unknown/heartbeat", token, json={})
    text = frame.call("GET", "/metrics").text
    assert 'spotcore_http_requests_total{endpoint="E17",status="200"} 3.0' in text
    assert 'spotcore_http_requests_total{endpoint="E17",status="404"} 1.0' in text
    assert 'spotcore_http_request_seconds_count{endpoint="E17"} 4.0' in text
    assert agent_id not in text
    assert set(re.findall(r"[{,](\w+)=", text)) == {"endpoint", "status", "le"}
