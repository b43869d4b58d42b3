"""Opens a catalog on a PostgreSQL server: small pools, bounded waits, no secrets in what it says."""

from sqlalchemy import URL, Engine, Pool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.pool import NullPool, QueuePool

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.blobs import StorageFailed
from gateway.store.engine import CONNECTIONS, Engines

_CONNECT_SECONDS = 5
_STATEMENT_SECONDS = 10
_SOCKET = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class DriverMissing(StorageFailed):
    """The library that speaks to PostgreSQL is not installed."""


def open_postgres(url: PostgresUrl) -> Engines:
    """Open a catalog that was migrated; nothing is dialled yet."""
    return Engines(_pooled(url, "AUTOCOMMIT"), _pooled(url, "READ COMMITTED"))


def open_single(url: PostgresUrl) -> Engine:
    """An engine whose every connection is one of its own, for what is bound to a session; autocommit."""
    return _engine(url, "AUTOCOMMIT", NullPool)


def _pooled(url: PostgresUrl, isolation_level: IsolationLevel) -> Engine:
    return _engine(
        url,
        isolation_level,
        QueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=_STATEMENT_SECONDS,
        pool_pre_ping=True,
    )


def _engine(url: PostgresUrl, isolation_level: IsolationLevel, pool: type[Pool], **pooling: float) -> Engine:
    try:
        engine = create_engine(
            URL.create("postgresql+psycopg", url.username, url.password, url.host, url.port, url.database),
            isolation_level=isolation_level,
            poolclass=pool,
            hide_parameters=True,  # a message that is logged has the statement, never the rows
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "client_encoding": "utf8",
                "application_name": "chart-gateway",
                **_SOCKET,
                **dict(url.options),
            },
            **pooling,
        )
    except ImportError as error:
        raise DriverMissing(
            f"{url} needs psycopg, which is not installed: pip install 'chart-gateway[postgres]'"
        ) from error
    event.listen(engine, "connect", _bound_waits)
    return engine


def _bound_waits(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{3 * _STATEMENT_SECONDS}s'")
    finally:
        cursor.close()
    connection.commit()  # a setting made in a transaction goes with it
