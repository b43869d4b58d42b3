"""How gateways that ask each other in a circle find out: the Via header, one entry a gateway."""

import re
import secrets
from contextvars import ContextVar
from typing import Final

# On the refusal of a request that came back to us, for HEAD has no body to say it in.
LOOP_HEADER: Final = ("X-Gateway-Refused", "loop")

_MAX_ENTRIES = 10
_MAX_GATEWAYS = 3
_ENTRY = re.compile(r"1\.1 chart-gateway-(?P<id>[0-9a-f]{16})", re.ASCII)
_incoming: ContextVar[tuple[str, ...]] = ContextVar("incoming_gateways", default=())


def new_instance_id() -> str:
    """Make up what one gateway is known by to others."""
    return secrets.token_hex(8)


def note_incoming(via_header: str) -> None:
    """Remember, for all that this request makes us ask, which gateways it came through."""
    _incoming.set(_gateways(via_header))


def is_loop(via_header: str, own_id: str) -> bool:
    """Whether a request was here before, or comes through more gateways than anybody stacks."""
    gateways = _gateways(via_header)
    return own_id in gateways or len(gateways) > _MAX_GATEWAYS


def outgoing(own_id: str) -> str:
    """Return the Via header of a request of ours."""
    return ", ".join(f"1.1 chart-gateway-{gateway}" for gateway in (*_incoming.get(), own_id))


def _gateways(via_header: str) -> tuple[str, ...]:
    """The ids of the gateways in it; what others wrote there does not travel on."""
    found = (_ENTRY.fullmatch(entry.strip(" \t")) for entry in via_header.split(","))
    return tuple(match["id"] for match in found if match is not None)[-_MAX_ENTRIES:]
