"""E16…E22, E25…E28: agents connect, are configured, and leave."""

from datetime import datetime
from typing import Any, Final

from attrs import asdict, fields_dict, make_class

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.lanes import Lane
from spotadapters.http.pulse import Repeat
from spotadapters.http.routes.heartbeats import Beat, BeatAnswer, heartbeat
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import objects
from spotadapters.wire.answers import camel, shown
from spotadapters.wire.objects import Config, Done
from spotadapters.wire.parsing import present, required, wire
from spotadapters.wire.shapes import shape
from spotadapters.wire.words import known, mode_of
from spotcore.builds import Evidence
from spotcore.config import SETTINGS, AgentConfig, ConfigChange
from spotcore.errors import ValidationFailed
from spotcore.ids import CloudId, is_cloud_id
from spotcore.registration import Registration
from spotcore.service.agents import ConfigAnswer

AGENT: Final = Access(needs=Needs.CLIENT)
SAFE: Final = Access(needs=Needs.CLIENT, while_suspended=True)
ALWAYS: Final = Access(needs=Needs.CLIENT, while_suspended=True, winding_down=True)
PEOPLE: Final = Access(needs=Needs.EITHER)


@shape
class Register:
    """E16."""

    instance_id: str = required(limit=128)
    instance_type: str | None = present(limit=64)
    region: str | None = present(limit=64)
    az: str | None = present("availability_zone", limit=64)
    logical_agent_id: str | None = wire(limit=255)
    mode: str | None = wire("current_mode")
    hostname: str | None = wire(clip=True)
    ami_id: str | None = wire(clip=True)
    agent_version: str | None = wire("version", limit=32, clip=True)
    private_ip: str | None = wire(limit=45, clip=True)
    public_ip: str | None = wire(limit=45, clip=True)
    launch_token: str | None = wire(limit=128)
    cloud_account: str | None = wire(clip=True)
    project_id: str | None = wire(clip=True)


@shape
class Registered:
    """E16."""

    agent_id: str
    client_id: str
    role: str = shown(doc="primary, replica, retired or pending")
    config: Config
    config_version: int
    registered: str = shown(doc="new, updated or ignored")


def register(call: Call) -> Answer:
    """E16."""
    data, body = call.data(), call.parse(Register)
    if not is_cloud_id(body.instance_id):
        raise ValidationFailed(
            "invalid: instance_id", instance_id=["use the EC2 instance id, e.g. i-0123456789abcdef0"]
        )
    metadata = {"cloud_account": body.cloud_account, "project_id": body.project_id}
    modern = "cloud_account" in data or "project_id" in data
    wanted = Registration(
        cloud_id=CloudId(body.instance_id),
        logical_agent_id=body.logical_agent_id or body.instance_id,
        instance_type=known(body.instance_type),
        region=known(body.region),
        az=known(body.az),
        mode=mode_of(body.mode),
        hostname=body.hostname,
        ami_id=known(body.ami_id),
        agent_version=body.agent_version,
        private_ip=known(body.private_ip),
        public_ip=known(body.public_ip),
        launch_token=body.launch_token,
        metadata={name: value for name, value in metadata.items() if value},
        evidence=(Evidence.CLOUD_ACCOUNT,) if modern else (),
    )
    client = call.principal.client
    answer = call.plane.agents.register(
        call.principal.acting(None, actor="agent"), wanted, known_only=client is not None and client.is_suspended
    )
    settings = objects.config(
        answer.config, answer.config_version, replica_count=answer.replica_count,
        engine_active=call.server.engine_loaded and answer.role == "primary",
    )  # fmt: skip
    return Answer(
        data=Registered(
            agent_id=answer.agent_id,
            client_id=answer.client_id,
            role=answer.role,
            config=settings,
            config_version=answer.config_version,
            registered=answer.registered.value,
        )
    )


@shape
class AgentSettings(Config):
    """E18."""

    agent_id: str


def config(call: Call) -> Answer:
    """E18, with the version as ETag (CV-6)."""
    caller = call.agent_caller()
    answer = call.plane.agents.config(caller, call.agent_id)
    settings = objects.config(
        answer.config, answer.config_version, replica_count=answer.replica_count,
        engine_active=call.server.engine_loaded,
    )  # fmt: skip
    etag = f'"{answer.config_version}"'
    if call.headers.get("if-none-match") == etag:
        return Answer(data={}, status=304, headers={"ETag": etag})
    data = AgentSettings(**asdict(settings, recurse=False), agent_id=call.agent_id)
    repeat = (
        Repeat(client_id=caller.client_id, agent_id=call.agent_id, revision=answer.revision)
        if answer.revision is not None
        else None
    )
    return Answer(data=data, headers={"ETag": etag}, repeat=repeat, timeless=data)


@shape
class Toggle:
    """E19."""

    enabled: bool = wire(default=True)


@shape
class Toggled:
    """E19."""

    success: bool = True
    enabled: bool
    config_version: int


def toggle(call: Call) -> Answer:
    """E19."""
    wanted = call.parse(Toggle).enabled
    answer = call.plane.agents.toggle(call.agent_caller(actor="client"), call.agent_id, wanted)
    return Answer(data=Toggled(enabled=answer.config.enabled, config_version=answer.config_version))


NULLABLE: Final = frozenset({"failover_on_heartbeat_loss_seconds"})


def _change_class(name: str, *, in_camel: bool) -> type:
    """A body with any writable setting in either spelling. ``enabled`` is E19's alone (http-api 5)."""
    fields: dict[str, Any] = {"expected_version": wire(kind=int | None)}
    minutes = ("terminateWaitMinutes", "terminate_wait_minutes")
    fields["terminate_wait_minutes"] = wire(minutes[1], name=minutes[0], kind=int | None)
    for setting, field in fields_dict(AgentConfig).items():
        if setting != "enabled":
            spelled = (camel(setting), setting) if in_camel else (setting, camel(setting))
            declared: Any = field.type
            fields[setting] = wire(spelled[1], name=spelled[0], limit=128, kind=declared | None)
    return make_class(name, fields, frozen=True, kw_only=True)


CamelChange: Final = _change_class("CamelChange", in_camel=True)
SnakeChange: Final = _change_class("SnakeChange", in_camel=False)


def config_change(call: Call, body: Any) -> ConfigChange:
    """What a body asks for (E20, E25); ranges are the core's to judge."""
    wanted = {name: getattr(body, name) for name in SETTINGS if getattr(body, name, None) is not None}
    data = call.data()
    wanted |= {name: None for name in NULLABLE if name not in wanted and (name in data or camel(name) in data)}
    minutes = body.terminate_wait_minutes
    if minutes is not None and "terminate_wait_seconds" not in wanted:
        if not 1 <= minutes <= 1_440:
            raise ValidationFailed(
                "invalid: terminateWaitMinutes", terminateWaitMinutes=["use a whole number from 1 to 1440"]
            )
        wanted["terminate_wait_seconds"] = minutes * 60
    return ConfigChange(wanted=wanted, expected_version=body.expected_version)


@shape
class Configured:
    """E20, E25: stored values, never an echo of the request (MX-12)."""

    success: bool = True
    auto_switch_enabled: bool
    manual_replica_enabled: bool
    auto_terminate_enabled: bool
    terminate_wait_seconds: int
    config_version: int


def _configured(call: Call, kind: type) -> Answer:
    change = config_change(call, call.parse(kind))
    return _config_answer(call.plane.agents.configure(call.agent_caller(actor="client"), call.agent_id, change))


def _config_answer(answer: ConfigAnswer) -> Answer:
    settings = answer.config
    return Answer(
        data=Configured(
            auto_switch_enabled=settings.auto_switch_enabled,
            manual_replica_enabled=settings.manual_replica_enabled,
            auto_terminate_enabled=settings.auto_terminate_enabled,
            terminate_wait_seconds=settings.terminate_wait_seconds,
            config_version=answer.config_version,
        )
    )


def configure(call: Call) -> Answer:
    """E20."""
    return _configured(call, CamelChange)


def settings(call: Call) -> Answer:
    """E25."""
    return _configured(call, SnakeChange)


@shape
class AgentDeleted:
    """E21."""

    success: bool = True
    agent_id: str


def delete(call: Call) -> Answer:
    """E21."""
    call.plane.agents.delete(call.agent_caller(actor="client"), call.agent_id)
    return Answer(data=AgentDeleted(agent_id=call.agent_id), message="Agent deleted; its machine keeps running")


@shape
class AgentItem:
    """E22."""

    CAMEL = True
    id: str
    logical_agent_id: str
    hostname: str | None
    instance_id: str | None
    instance_type: str | None
    region: str | None
    az: str | None
    current_mode: str
    current_pool_id: str | None
    status: str
    last_heartbeat: datetime | None
    instance_count: int
    enabled: bool
    auto_switch_enabled: bool
    manual_replica_enabled: bool
    auto_terminate_enabled: bool
    terminate_wait_minutes: int
    agent_version: str | None
    config_version: int
    notice_status: str


def agents_of_client(call: Call) -> Answer:
    """E22."""
    caller = call.client_caller()
    call.plane.clients.seen(caller.client_id)
    return Answer(data=call.reads.each("agents_of_client", AgentItem, client_id=caller.client_id))


@shape
class PresenceAnswer:
    """E26."""

    agent_id: str
    status: str
    enabled: bool
    config_version: int


def presence(call: Call) -> Answer:
    """E26: 404 only for an agent that is deleted or never was (T01)."""
    found = call.plane.agents.presence(call.principal.acting(None, actor="agent"), call.agent_id)
    return Answer(
        data=PresenceAnswer(
            agent_id=found.agent_id,
            status=found.status,
            enabled=found.enabled,
            config_version=found.config_version,
        )
    )


@shape
class Shutdown:
    """E27, and E28's machine."""

    LENIENT = True
    cloud_instance_id: str | None = wire("instance_id", limit=128)
    reason: str | None = wire(clip=True)


def shutdown(call: Call) -> Answer:
    """E27."""
    body = call.parse(Shutdown)
    machine = body.cloud_instance_id if is_cloud_id(body.cloud_instance_id) else None
    call.plane.agents.shutdown(call.agent_caller(), call.agent_id, machine)
    return Answer(data=Done())


@shape
class Uninstalled:
    """E28."""

    success: bool = True
    matched: bool


def uninstall(call: Call) -> Answer:
    """E28."""
    body = call.parse(Shutdown)
    matched = False
    if is_cloud_id(body.cloud_instance_id) and body.cloud_instance_id is not None:
        matched = call.plane.agents.uninstall(
            call.principal.acting(None, actor="agent"), body.cloud_instance_id, body.reason
        )
    return Answer(data=Uninstalled(matched=matched))


A: Final = "/api/agents/{agent_id}"
C: Final = "/api/client/agents/{agent_id}"
routes = [
    Endpoint(
        number="E16", method="POST", path="/api/agents/register", handler=register, access=SAFE, mirror=True,
        body_token=True, body=Register, answers=Registered,
        refuses=("LOGICAL_AGENT_CONFLICT", "INSTANCE_OWNED", "LIMIT_REACHED"),
    ),
    Endpoint(
        number="E28", method="POST", path="/api/agents/uninstall", handler=uninstall, access=SAFE, mirror=True,
        body=Shutdown, answers=Uninstalled,
    ),
    Endpoint(
        number="E17", method="POST", path=A + "/heartbeat", handler=heartbeat, access=ALWAYS, mirror=True,
        lane=Lane.PULSE, body=Beat, answers=BeatAnswer,
    ),
    Endpoint(
        number="E18", method="GET", path=A + "/config", handler=config, access=SAFE, mirror=True, answers=AgentSettings
    ),
    Endpoint(
        number="E19", method="POST", path=C + "/toggle-enabled", handler=toggle, access=PEOPLE, body=Toggle,
        answers=Toggled,
    ),
    Endpoint(
        number="E20", method="POST", path=C + "/config", handler=configure, access=PEOPLE, body=CamelChange,
        answers=Configured, refuses=("MUTUALLY_EXCLUSIVE", "CONFIG_CONFLICT"),
    ),
    Endpoint(
        number="E25", method="POST", path=C + "/settings", handler=settings, access=PEOPLE, body=SnakeChange,
        answers=Configured, refuses=("MUTUALLY_EXCLUSIVE", "CONFIG_CONFLICT"),
    ),
    Endpoint(number="E21", method="DELETE", path=C, handler=delete, access=PEOPLE, answers=AgentDeleted),
    Endpoint(
        number="E22", method="GET", path="/api/client/{client_id}/agents", handler=agents_of_client, access=PEOPLE,
        lane=Lane.LIST, answers=tuple[AgentItem, ...],
    ),
    Endpoint(
        number="E26", method="GET", path=A, handler=presence, access=SAFE, mirror=True, answers=PresenceAnswer,
        refuses=("FORBIDDEN",),
    ),
    Endpoint(
        number="E27", method="POST", path=A + "/shutdown", handler=shutdown, access=SAFE, mirror=True, body=Shutdown,
        answers=Done,
    ),
]  # fmt: skip
