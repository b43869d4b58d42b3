"""When a chart version was created, as a number: policies ask how old it is."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.created import created_at, created_seconds, told_seconds

_OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1969-12-31T23:59:59.5Z", -0.5),
        ("2021-05-21T13:04:19Z", 1621602259.0),
        ("2021-05-21T13:04:19.25Z", 1621602259.25),
        ("2021-05-21T13:04:19.250000000999Z", 1621602259.25),
        ("2021-05-21T13:04:19,5Z", 1621602259.5),
        ("2021-05-21T15:04:19+02:00", 1621602259.0),
        ("2021-05-21T12:34:19-00:30", 1621602259.0),
        ("2021-05-21T3:04:19-10:00", 1621602259.0),
        ("2021-05-22T14:04:19+24:60", 1621602259.0),
        ("2020-02-29T00:00:00Z", 1582934400.0),
        ("0001-01-01T00:00:00.000000001Z", -62135596800.0),
        ("9999-12-31T23:59:59Z", 253402300799.0),
    ],
)
def test_a_time_is_told_in_seconds_since_1970(written: str, seconds: float) -> None:
    assert created_seconds(written) == seconds


@pytest.mark.parametrize(
    ("written", "names", "seconds"),
    [
        ("2021-05-21T13:04:19Z", {}, 1621602259.0),
        ("2021-05-21T13:04:19Z", {"title": "demo", "version": "1.0.0"}, 1621602259.0),
        (created_at(None, "demo", "1.0.0"), {"title": "demo", "version": "1.0.0"}, None),
        (created_at(None, "demo", "v1.0.0"), {"title": "demo", "version": "1.0.0"}, None),
        (created_at(None, "demo", "1.0.0+b"), {"title": "demo", "version": "1.0.0_b"}, None),
        ("yesterday", {}, None),
        (None, {}, None),
        (None, {"title": "demo", "version": "1.0.0"}, None),
    ],
)
def test_an_artifact_is_as_old_as_its_annotations_say_unless_that_was_made_up(
    written: str | None, names: dict[str, str], seconds: float | None
) -> None:
    texts = {"created": written, **names}
    annotations = {f"org.opencontainers.image.{key}": text for key, text in texts.items() if text is not None}
    assert told_seconds(annotations) == seconds


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=_OFFSETS))  # noqa: DTZ001 - hypothesis adds the zone
def test_any_time_with_any_offset_is_the_second_that_it_was(moment: datetime) -> None:
    assert created_seconds(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-4)


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "yesterday",
        "1621602259",
        "2021-05-21",
        "2021-05-21 13:04:19Z",
        "2021-05-21T13:04:19",
        "2021-05-21T13:04:19Z\n",
        "2021-02-29T00:00:00Z",
        "2021-05-21T24:00:00Z",
        "2021-05-21T23:59:60Z",
        "2021-05-21T13:04:19+25:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "12021-05-21T13:04:19Z",
    ],
)
def test_an_entry_that_tells_no_time_has_none(written: str | None) -> None:
    assert created_seconds(written) is None
