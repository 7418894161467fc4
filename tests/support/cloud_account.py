"""An account of the simulated cloud, for tests of the cloud itself and of what a host sees of it."""

from typing import Any

import pytest

from spotadapters.fleet import CloudRefusal, FakeCloud, Machine, VirtualClock
from spotcore.pools import Mode
from tests.support.scripted_server import HERE, PRICES, THERE, TYPE

FAR = "eu-west-1a"


class Account:
    """An account with its clock, and one image."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.cloud = FakeCloud(**{"clock": self.clock, "prices": PRICES, "zones": (HERE, THERE, FAR), **settings})
        self.image = self.cloud.new_image()

    def launch(self, **wishes: Any) -> Machine:
        return self.cloud.launch(
            **{"instance_type": TYPE, "az": HERE, "mode": Mode.SPOT, "ami_id": self.image, **wishes}
        )

    def running(self, **wishes: Any) -> str:
        """A machine that runs."""
        machine = self.launch(**wishes)
        self.clock.advance(25)
        return machine.instance_id

    def refusal(self, call: Any, *args: Any, **more: Any) -> str:
        with pytest.raises(CloudRefusal) as refused:
            call(*args, **more)
        assert str(refused.value).startswith(f"{refused.value.code}: ")
        return str(refused.value)
