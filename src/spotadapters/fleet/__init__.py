"""A simulated fleet that speaks HTTP like the deployed agents, over a simulated cloud: for tests and the demo."""

from spotadapters.fleet.agents import PROGRAMS, Installation
from spotadapters.fleet.clocks import FastClock, VirtualClock
from spotadapters.fleet.cloud import FakeCloud
from spotadapters.fleet.journal import Deed, Exchange, Interruption, Journal, Violation
from spotadapters.fleet.machines import CloudRefusal, Machine, MachineState
from spotadapters.fleet.prices import FixedPrices, PriceFeed
from spotadapters.fleet.runner import LiveRunner
from spotadapters.fleet.script import NO_ANSWER, Content, Response, json_answer
from spotadapters.fleet.transport import ClientTransport, HttpTransport, SocketTransport
from spotadapters.fleet.world import World

__all__ = [
    "NO_ANSWER",
    "PROGRAMS",
    "ClientTransport",
    "CloudRefusal",
    "Content",
    "Deed",
    "Exchange",
    "FakeCloud",
    "FastClock",
    "FixedPrices",
    "HttpTransport",
    "Installation",
    "Interruption",
    "Journal",
    "LiveRunner",
    "Machine",
    "MachineState",
    "PriceFeed",
    "Response",
    "SocketTransport",
    "Violation",
    "VirtualClock",
    "World",
    "json_answer",
]
