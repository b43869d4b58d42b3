"""What somebody who signed in at the admin's desk may do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """A viewer sees everything but secrets; an editor also changes things."""

    VIEWER = "viewer"
    EDITOR = "editor"

    def may_act_as(self, needed: "Role") -> bool:
        return self is Role.EDITOR or needed is Role.VIEWER


@dataclass(frozen=True, slots=True)
class SignedIn:
    """``name`` is what the audit says. ``form_token``: what forms of the session carry; None without one."""

    name: str
    role: Role
    form_token: str | None = None
