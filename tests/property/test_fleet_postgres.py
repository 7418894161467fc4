"""The stateful machine over PostgreSQL: the database must accept whatever the core decides, and refuse nothing else."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotcore.ports.storage import Transactions
from spotcore.testing import FleetMachine, ManualClock


@pytest.mark.timeout(240)
def test_every_sequence_keeps_the_invariants_on_postgres(database_url: str) -> None:
    with Connections(database_url, size=4, reserve=2) as connections:

        class PostgresFleet(FleetMachine):
            def open_storage(self, clock: ManualClock) -> Transactions:
                return PostgresStorage(connections, clock).transactions

        profile = settings(stateful_step_count=30, max_examples=12)
        run_state_machine_as_test(PostgresFleet, settings=profile)
