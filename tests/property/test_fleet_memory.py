"""The stateful machine over memory."""

from hypothesis import settings

from spotadapters.memory import MemoryStorage
from spotcore.ports.storage import Transactions
from spotcore.testing import FleetMachine, ManualClock
from tests.support.effort import fewer


class MemoryFleet(FleetMachine):
    """I1…I14 over any sequence, in memory."""

    owns_storage = True

    def open_storage(self, clock: ManualClock) -> Transactions:
        return MemoryStorage().transactions


TestFleetInMemory = MemoryFleet.TestCase
TestFleetInMemory.settings = settings(max_examples=fewer(2), stateful_step_count=40)
