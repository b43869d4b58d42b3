"""How often one client may be wrong: ten times a minute, and then it is not listened to until it waited."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.oci.errors import OciError, Situation

WRONG_TRIES: Final = 10
_WITHIN_SECONDS: Final = 60.0
_CLIENTS: Final = 4096


class Throttle:
    """Remembers the wrong tries of the last minute, of so many clients and no more.

    Where it cannot remember another client, one that it does not know has to wait: who has many addresses
    gains nothing by them. ``now`` is monotonic.
    """

    def __init__(self, now: Callable[[], float], clients: int = _CLIENTS) -> None:
        self._now = now
        self._clients = clients
        self._wrong: OrderedDict[str, tuple[float, ...]] = OrderedDict()  # by when they were wrong last

    def require(self, client: str) -> None:
        """Raise OciError RATE_LIMITED for who has to wait."""
        now = self._now()
        self._forget(now)
        tries = [at for at in self._wrong.get(client, ()) if at > now - _WITHIN_SECONDS]
        if len(tries) >= WRONG_TRIES:
            raise _refusal(tries[-WRONG_TRIES] + _WITHIN_SECONDS - now)
        if client not in self._wrong and len(self._wrong) >= self._clients:
            first = next(iter(self._wrong.values()))
            raise _refusal(first[-1] + _WITHIN_SECONDS - now)

    def judge(self, client: str, *, is_right: bool) -> None:
        """Say how a try ended. Also one that was right is refused, where others were wrong meanwhile."""
        self.require(client)
        if not is_right:
            tries = (*self._wrong.pop(client, ()), self._now())
            self._wrong[client] = tries[-WRONG_TRIES:]

    def _forget(self, now: float) -> None:
        while self._wrong:
            client, tries = next(iter(self._wrong.items()))
            if tries[-1] > now - _WITHIN_SECONDS:
                return
            del self._wrong[client]


def _refusal(wait_seconds: float) -> OciError:
    message = "too many wrong sign-ins from your address: wait a minute, then try again"
    return OciError(Situation.RATE_LIMITED, message, retry_after_seconds=max(1, math.ceil(wait_seconds)))
