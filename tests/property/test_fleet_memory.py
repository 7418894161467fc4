"""The stateful machine over memory."""

from hypothesis import settings

from spotadapters.memory import MemoryStorage
from spotcore.ports.storage import Transactions
from tests.property.fleet_machine import FleetMachine
from tests.support.world import FakeClock


class MemoryFleet(FleetMachine):
    """I1…I14 over any sequence, in memory."""

    def open_storage(self, clock: FakeClock) -> Transactions:
        return MemoryStorage().transactions


TestFleetInMemory = MemoryFleet.TestCase
TestFleetInMemory.settings = settings(stateful_step_count=40)
