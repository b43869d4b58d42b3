"""A site whose catalog lies on a PostgreSQL server; several may share one, each with blobs of its own."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from gateway.oci.postgres_url import PostgresUrl
from tests.e2e.gateway_process import Site


@dataclass(frozen=True, slots=True)
class PostgresSite(Site):
    """Servers and commands run there with nothing but ``DATABASE_URL`` set."""

    url: PostgresUrl

    def _start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        given = {"GATEWAY_DATABASE_URL": as_written(self.url), **(environment or {})}
        return Site._start(self, *arguments, environment=given)


def as_written(url: PostgresUrl) -> str:
    """With its password, as an operator writes it."""
    assert (url.username, url.password) != (None, None)
    account = f"{url.username}:{quote(url.password or '', safe='')}"
    return f"postgresql://{account}@{url.host}:{url.port}/{url.database}"
