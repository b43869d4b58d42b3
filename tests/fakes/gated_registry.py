"""A registry whose large answers stop half way, until a test lets the rest go."""

import socket

from gateway.oci.digest import Digest
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry


class GatedRegistry(FakeRegistry):
    """A body longer than ``pauses_at`` bytes waits there; None lets all go, also what waits by now."""

    def __init__(self) -> None:
        super().__init__()
        self._pauses_at: int | None = None
        self._paused = 0

    @property
    def pauses_at(self) -> int | None:
        return self._pauses_at

    @pauses_at.setter
    def pauses_at(self, position: int | None) -> None:
        with self._changed:
            self._pauses_at = position
            self._changed.notify_all()

    @property
    def paused_count(self) -> int:
        """How many answers wait just now."""
        return self._paused

    def gets_of_blob(self, name: str, digest: Digest) -> list[str | None]:
        """The Range header of each GET of a blob, None where there was none."""
        path = self.blob_path(name, digest)
        asked = [request for request in self.requests if (request.method, request.path) == ("GET", path)]
        return [request.headers.get("range") for request in asked]

    def _send_body(self, connection: socket.socket, sent: bytes, faults: Faults) -> None:
        position = self._pauses_at
        if position is None or len(sent) <= position:
            super()._send_body(connection, sent, faults)
            return
        connection.sendall(sent[:position])
        with self._changed:
            self._paused += 1
            self._changed.notify_all()
            try:
                self._wait_while_up(lambda: self._pauses_at is None)
            finally:
                self._paused -= 1
        connection.sendall(sent[position:])
