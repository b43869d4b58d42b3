"""The URL of a PostgreSQL database: read strictly, shown without its password."""

import pytest

from gateway.oci.postgres_url import PostgresUrl, PostgresUrlError, parse_postgres_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("postgresql://db/charts", PostgresUrl("charts", "db")),
        ("postgres://db/charts", PostgresUrl("charts", "db")),
        ("postgresql:///charts", PostgresUrl("charts")),
        ("postgresql://u@db:6432/charts", PostgresUrl("charts", "db", 6432, "u")),
        ("postgresql://u:@db/charts", PostgresUrl("charts", "db", None, "u", "")),
        ("postgresql://[2001:db8::1]:5432/c", PostgresUrl("c", "2001:db8::1", 5432)),
        (
            "postgresql://u%40x:p%3A%2F%40%25@db/my%20charts",
            PostgresUrl("my charts", "db", None, "u@x", "p:/@%"),
        ),
        (
            "postgresql:///c?host=%2Frun%2Fpostgresql&sslmode=verify-full",
            PostgresUrl("c", options=(("host", "/run/postgresql"), ("sslmode", "verify-full"))),
        ),
    ],
)
def test_a_url_is_read_into_its_decoded_parts(text: str, url: PostgresUrl) -> None:
    assert parse_postgres_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql://",
        "postgresql://db",
        "postgresql://db/",
        "postgresql:/db/x",
        "postgresql+psycopg://db/x",
        "POSTGRESQL://db/x",
        "mysql://db/x",
        "postgresql://u:S3CR3T@db:0/x",
        "postgresql://u:S3CR3T@db:65536/x",
        "postgresql://u:S3CR3T@db:x/x",
        "postgresql://u:S3/CR3T@db/x",
        "postgresql://u:S3@CR3T@db/x",
        "postgresql://u:S3:CR3T@db/x",
        "postgresql://u:S3CR3T%FF@db/x",
        "postgresql://u:S3CR3T%00@db/x",
        "postgresql://u:S3CR3T@db/x#y",
        "postgresql://u:S3CR3T @db/x",
        "postgresql://u:S3CR3T@db/x\n",
        "postgresql://db/x?",
        "postgresql://db/x?sslmode",
        "postgresql://db/x?password=S3CR3T",
        "postgresql://db/x?sslmode=require&sslmode=S3CR3T",
        "postgresql://db/x?host=%00S3CR3T",
        "postgresql://db/x?host=%FFS3CR3T",
        "postgresql://\u0434\u0431/x",
    ],
)
def test_what_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(PostgresUrlError) as caught:
        parse_postgres_url(text)
    assert "CR3T" not in str(caught.value)


def test_it_is_shown_by_its_place_alone() -> None:
    url = parse_postgres_url("postgresql://u:S3CR3T@db:6432/charts?options=S3CR3T")
    assert str(url) == "postgresql://u@db:6432/charts"
    assert "S3CR3T" not in repr(PostgresUrl("charts", "db", None, "u", "S3CR3T"))
