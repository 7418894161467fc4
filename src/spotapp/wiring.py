"""Settings → adapters → use cases: the only place that builds objects, and closes what it opened."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from attrs import frozen

from spotadapters.channels.courier import Courier
from spotadapters.engine.runner import EngineRunner
from spotadapters.files.blobs import FileBlobs
from spotadapters.http.groups import Groups
from spotadapters.http.lanes import LIST_THREADS, PULSE_THREADS, Lanes
from spotadapters.http.live import LiveHub
from spotadapters.http.metrics import Metrics
from spotadapters.http.moves import Moves
from spotadapters.http.parts import Parts
from spotadapters.http.pulse import ShortWay
from spotadapters.http.routing import Server
from spotadapters.http.storm import Storm
from spotadapters.http.waiting import Hub
from spotadapters.jobs.board import Board
from spotadapters.jobs.table import JobTable
from spotadapters.modelcheck import ProcessValidator
from spotadapters.postgres.channels import Channels
from spotadapters.postgres.jobs import JobBook
from spotadapters.postgres.listen import COMMANDS, EVENTS, MOVES, Listener
from spotadapters.postgres.live import LiveFeed, LiveRelay
from spotadapters.postgres.news import LARGEST, MovesNews
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.pulses import Pulses
from spotadapters.postgres.reads import PostgresReads
from spotadapters.postgres.storage import PostgresStorage
from spotadapters.system.clock import SystemClock
from spotadapters.system.identity import SecureIdentity
from spotapp.jobs import Collaborators, job_table
from spotapp.sealing import is_lost, seal_key
from spotapp.settings import Settings
from spotapp.version import package_version
from spotcore.control_plane import ControlPlane, control_plane
from spotcore.ports.world import Clock, Engine
from spotcore.service.models import Library

JOB_CONNECTIONS: Final = 4
STORM_WRITERS: Final = 2  # more make smaller groups and share one interpreter all the same (decision 0021)


@frozen(kw_only=True)
class Wiring:
    """An assembled control plane with the parts the web application needs."""

    settings: Settings
    plane: ControlPlane
    storage: PostgresStorage
    identity: SecureIdentity
    connections: Connections
    parts: Parts
    listener: Listener
    relay: LiveRelay
    jobs: JobTable
    channels: Channels
    courier: Courier


def _metrics(connections: Connections, hub: Hub, board: Board) -> Metrics:
    metrics = Metrics(board)
    metrics.watch("database_connections_used", "Connections in use", lambda: connections.used()[0])
    metrics.watch("database_connections_max", "Connections there can be", lambda: connections.used()[1])
    metrics.watch("waiting_polls", "Agents waiting for a command", lambda: hub.waiting)
    return metrics


@contextmanager
def open_wiring(
    settings: Settings,
    database_url: str,
    *,
    clock: Clock | None = None,
    upkeep_seconds: float = 1.0,
    engine: Engine | None = None,
    standing: bool = True,
) -> Iterator[Wiring]:
    """Everything on an open pair of pools; closed in order at the end. ``clock`` is the machine's unless given; without
    an ``engine`` the built-in rules decide (Z35). ``standing`` is of the connections: see ``Connections``."""
    clock = clock or SystemClock()
    identity = SecureIdentity(None if is_lost(settings, database_url) else seal_key(settings))
    lanes = Lanes(ordinary=settings.threads, pulse=PULSE_THREADS, urgent=settings.urgent_threads)
    # a thread never waits for a connection
    size = settings.threads + LIST_THREADS + PULSE_THREADS + JOB_CONNECTIONS
    reserve = settings.urgent_threads + 1
    with Connections(database_url, size=size, reserve=reserve, standing=standing) as connections:
        pulses = Pulses(connections)
        hub, live = Hub(lambda signs: pulses.changed(signs, clock.now())), LiveHub()
        relay = LiveRelay(LiveFeed(connections, clock), live, clock, give_way=lanes.wait_for_calm)
        storage = PostgresStorage(connections, clock, relay.wake)
        blobs = FileBlobs(settings.data_dir / "models")
        blobs.clear_incoming()
        library = Library(blobs=blobs, validator=ProcessValidator(), uploads=settings.uploads)
        advisor = EngineRunner(engine, clock) if engine is not None else None
        plane = control_plane(
            transactions=storage.transactions, clock=clock, identity=identity, advisor=advisor, library=library
        )

        background = control_plane(
            transactions=lanes.polite(storage.transactions),
            clock=clock,
            identity=identity,
            advisor=advisor,
            library=library,
        )

        def look_again() -> None:
            hub.doubt()
            relay.wake()

        book, channels = JobBook(connections, clock), Channels(connections, clock, identity)
        courier, short_way = Courier(channels), ShortWay(pulses, clock)
        storm = Storm(plane.emergencies.together, storage, clock, groups=min(STORM_WRITERS, settings.urgent_threads))
        work = Collaborators(
            plane=background,
            connections=connections,
            clock=clock,
            board=book,
            data_dir=settings.data_dir,
            courier=courier,
            upkeep_seconds=upkeep_seconds,
            give_way=lanes.give_way,
        )
        news = MovesNews(connections, identity.new_id())
        told: Groups[str, bool] = Groups(news.tell, "moves", largest=LARGEST)
        moves = Moves(tell=told.begun)
        heard: Mapping[str, Callable[[str], None]] = {
            COMMANDS: hub.wake,
            EVENTS: lambda _: relay.wake(),
            MOVES: lambda words: moves.told(news.elsewhere(words)),
        }
        listener = Listener(database_url, heard, look_again)
        try:
            yield Wiring(
                settings=settings,
                plane=plane,
                storage=storage,
                identity=identity,
                connections=connections,
                listener=listener,
                relay=relay,
                jobs=JobTable(
                    job_table(work), book, clock, holder=f"{platform.node()}:{os.getpid()}:{identity.new_id()}"
                ),
                channels=channels,
                courier=courier,
                parts=Parts(
                    plane=plane,
                    transactions=storage.transactions,
                    credentials=storage,
                    reads=PostgresReads(connections, clock),
                    clock=clock,
                    identity=identity,
                    lanes=lanes,
                    hub=hub,
                    live=live,
                    moves=moves,
                    server=Server(
                        version=package_version(),
                        engine_loaded=engine is not None,
                        metrics=_metrics(connections, hub, book),
                        jobs=book,
                    ),
                    dashboard=settings.dashboard_dir,
                    short_way=short_way,
                    storm=storm,
                ),
            )
        finally:
            courier.close()
            short_way.close()
            storm.close()
            told.close()
            lanes.close()
