"""What a visit of the Rules pages says: the numbers in its address, and whether it may change anything."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.oci.errors import OciError, Situation
from gateway.rule_editing import RuleEditor
from gateway.web.admin.pages import Visit

_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def why_read_only(editor: RuleEditor, visit: Visit) -> str | None:
    """Why this visit may look alone; None where it may change the rules."""
    if editor.is_read_only:
        return "The rules are edited in the file alone: RULES_EDITED_IN is file."
    if not visit.is_editor:
        return "You may look, not change: that needs the role editor."
    return None


def number_in(visit: Visit, name: str) -> int | None:
    """From the address."""
    return number_of(visit.request.query_params, name)


def number_of(fields: Mapping[str, str], name: str) -> int | None:
    """None where nothing is said; raise OciError for what is no number."""
    text = fields.get(name, "").strip()
    if text and not _NUMBER.fullmatch(text):
        raise OciError(Situation.QUERY_MALFORMED, f"{name} is a number, not {text[:40]!r}")
    return int(text) if text else None


def required_number(visit: Visit, name: str) -> int:
    number = number_in(visit, name)
    if number is None:
        raise OciError(Situation.QUERY_MALFORMED, f"the address does not say the number: {name}")
    return number
