"""An upgrade under load, as docs/operations says: migrate, then every process replaced, one at a time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spotadapters.postgres.migrate import migrate
from tests.support.aftermath import all_is_well, rows
from tests.support.load import Balancer, Load, call
from tests.support.processes import an_installation, until


def test_every_process_is_replaced_under_load_and_not_one_call_is_lost(folder: Path) -> None:
    with an_installation(folder, durable=True) as shared:
        *webs, scheduler, worker = shared.together("web", "web", "scheduler", "worker")
        balancer = Balancer([web.port for web in webs])
        load = Load(balancer, shared.a_client(webs[0]), callers=3, between=0.03)
        with load.running(), ThreadPoolExecutor(2) as pool:
            until(lambda: load.good > 40, 30)
            assert list(pool.map(migrate, [shared.stack.database_url] * 2)) == [[], []]
            rows(
                shared.stack.database_url,
                "select keep_raw_prices(now() + interval '9 weeks', now() - interval '90 days')",
            )
            shared.together("scheduler", "worker")
            assert [scheduler.stop(), worker.stop()] == [0, 0]
            for web in webs:
                agent = next(iter(load.done.machines))
                poll = pool.submit(
                    call, web.port, "GET", f"/api/agents/{agent}/pending-commands?wait=25", None, load.token
                )
                balancer.ports.append(shared.web().port)
                good = load.good
                assert web.stop() == 0
                assert (poll.result().status, poll.result().body["commands"]) == (200, [])  # not cut off
                balancer.ports.remove(web.port)
                until(lambda: load.good > good + 40, 30)
        assert not load.lost
        assert not load.refused
        assert load.good == load.calls
        all_is_well(shared.stack.database_url, load.done)


def test_a_stopping_web_process_answers_everybody_who_got_through(folder: Path) -> None:
    """Callers as fast as they can, so that some stand in the queue, and some are open without a word yet, at the end."""
    with an_installation(folder) as shared:
        web = shared.web()
        answered = Counter[int]()

        def until_refused() -> None:
            for _ in range(3_000):
                try:
                    answered[call(web.port, "GET", "/livez").status] += 1
                except ConnectionRefusedError:
                    return

        with ThreadPoolExecutor(12) as pool:
            callers = [pool.submit(until_refused) for _ in range(12)]
            until(lambda: answered[200] > 100, 30)
            assert web.stop() == 0
            for one in callers:
                one.result()
        assert set(answered) == {200}
