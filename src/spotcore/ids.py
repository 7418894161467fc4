"""Identities, and ids derived without randomness.

Rows of an agent get ids derived from the agent's id and a counter it keeps, so that a rule is a pure function:
the same aggregate and the same event give the same ids, and a transaction that is tried again makes nothing twice.
Ids are names, not secrets; only tokens are secret, and those come from a port.
"""

import re
from hashlib import sha1
from typing import Final, NewType
from uuid import NAMESPACE_URL

ClientId = NewType("ClientId", str)
AgentId = NewType("AgentId", str)
InstanceId = NewType("InstanceId", str)  # our own id of a machine; the cloud's is CloudId
CloudId = NewType("CloudId", str)
ReplicaId = NewType("ReplicaId", str)
CommandId = NewType("CommandId", str)
IncidentId = NewType("IncidentId", str)
SwitchId = NewType("SwitchId", str)

REPLICA_PLACEHOLDER: Final = "replica-"  # http-api 1.4: the only prefixes old agents skip
LAUNCH_PLACEHOLDER: Final = "i-pending-"

_CLOUD_ID: Final = re.compile(r"i-(?!pending-)[0-9A-Za-z][0-9A-Za-z-]{0,125}")


def derived_id(agent_id: AgentId, sequence: int) -> str:
    """UUID text, the same for the same agent and counter value."""
    return _named(f"spotcore:{agent_id}:{sequence}")


def event_id_of(kind: str, source: str, period: int) -> str:
    """UUID text, the same for the same source and period: an event that counts once however many processes see it."""
    return _named(f"spotcore:{kind}:{source}:{period}")


def _named(name: str) -> str:
    """``str(uuid.uuid5(NAMESPACE_URL, name))`` (RFC 9562, 5.5) in a fifth of the time: a failover takes ten ids."""
    text = sha1(NAMESPACE_URL.bytes + name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:32]}"


def is_cloud_id(text: str | None) -> bool:
    """True for what the cloud could have issued; placeholders and the text ``unknown`` are not (I10)."""
    return text is not None and _CLOUD_ID.fullmatch(text) is not None


def replica_placeholder(replica_id: ReplicaId) -> str:
    """The word shown for a replica's machine while the cloud has not named it."""
    return REPLICA_PLACEHOLDER + replica_id.replace("-", "")[:8]


def launch_placeholder(instance_id: InstanceId) -> str:
    """The word shown for a requested machine while the cloud has not named it."""
    return LAUNCH_PLACEHOLDER + instance_id.replace("-", "")[:8]
