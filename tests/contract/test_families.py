"""Which instance types a family has in a region: what has been seen on the market (E33)."""

from tests.support.world import TYPE, World


def test_e33_a_family_is_what_precedes_the_dot_in_the_region_alone(world: World) -> None:
    agent_id = world.register().agent_id
    assert world.plane.machines.types_like(TYPE, "us-east-1") == (TYPE,)  # its own, market or none
    assert world.plane.machines.types_like(None, "us-east-1") == ()
    world.report_prices(agent_id, {"us-east-1a": "0.03", "us-east-1b": "0.04"})
    assert world.plane.machines.types_like("m5.metal", "us-east-1") == (TYPE, "m5.metal")
    assert world.plane.machines.types_like("m5.metal", None) == (TYPE, "m5.metal")
    assert world.plane.machines.types_like("m5.metal", "us-east-2") == ("m5.metal",)
    assert world.plane.machines.types_like("m5d.large", "us-east-1") == ("m5d.large",)
    assert world.plane.machines.types_like("m_.large", "us-east-1") == ("m_.large",)
