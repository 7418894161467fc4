"""The agent builds in the field, told apart by what they send (http-api 3.5), and what each can be asked (Z27)."""

from enum import StrEnum
from typing import Final

from attrs import frozen


class Build(StrEnum):
    """A deployed agent build; ``UNKNOWN`` is treated as able, like v4c."""

    UNKNOWN = "unknown"
    V2 = "v2"
    V4C = "v4c"
    V4N = "v4n"
    V5 = "v5"


@frozen(kw_only=True)
class Abilities:
    """What the server may ask of a build (http-api 3.4)."""

    modern: bool = False  # takes single launch, terminate, promote and config commands
    can_switch: bool = True
    can_launch_replica: bool = True
    can_terminate: bool = True
    own_zone_only: bool = False  # Z28
    names_machine: bool = True  # its heartbeats and notices say which machine they come from


ABILITIES: Final = {
    Build.UNKNOWN: Abilities(),
    Build.V4C: Abilities(),
    Build.V2: Abilities(can_launch_replica=False, can_terminate=False),
    Build.V4N: Abilities(can_switch=False, can_launch_replica=False, can_terminate=False, names_machine=False),
    Build.V5: Abilities(modern=True, own_zone_only=True, names_machine=False),
}


class Evidence(StrEnum):
    """One observation about a build (http-api 3.5)."""

    CLOUD_ACCOUNT = "cloud_account"  # E16 with cloud_account or project_id
    MODERN_CALL = "modern_call"  # E71, E72, E74 shape C
    CLASSIC_CALL = "classic_call"  # E43, E55, E70, E76, or E17 with instance_id
    MARK_EXECUTED = "mark_executed"  # E73, E74 shape A, or E17 with monitored_instances and no instance_id
    NOTICE_ONLY = "notice_only"  # E62 flat, or E53 without a machine
    FETCHED_COMMANDS = "fetched_commands"  # E69: v2 or v4c, not v4n


VERDICTS: Final = {
    Evidence.CLOUD_ACCOUNT: Build.V5,
    Evidence.MODERN_CALL: Build.V5,
    Evidence.CLASSIC_CALL: Build.V4C,
    Evidence.MARK_EXECUTED: Build.V2,
    Evidence.NOTICE_ONLY: Build.V4N,
}
CALLS_A_V4N_NEVER_MAKES: Final = frozenset(
    {Evidence.CLASSIC_CALL, Evidence.MODERN_CALL, Evidence.MARK_EXECUTED, Evidence.FETCHED_COMMANDS}
)


def judge(build: Build, able_since_registration: bool, evidence: Evidence) -> tuple[Build, bool]:
    """The build after one more observation: later evidence wins, except that an agent which has fetched commands or
    replicas since it registered is no v4n (T22)."""
    able = able_since_registration or evidence in CALLS_A_V4N_NEVER_MAKES
    if evidence is Evidence.NOTICE_ONLY and able:
        return build, able
    return VERDICTS.get(evidence, build), able
