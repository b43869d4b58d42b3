"""A gateway that asks itself, however far around, finds out; and what strangers write travels nowhere."""

from contextvars import copy_context

import pytest

from gateway.sources.via import is_loop, new_instance_id, note_incoming, outgoing

OWN = "00000000000000aa"
OTHERS = [f"{number:016x}" for number in range(1, 13)]


def entries(*ids: str) -> str:
    return ", ".join(f"1.1 chart-gateway-{each}" for each in ids)


def sent_after(via_header: str) -> str:
    """What goes out for a request that came in with this header."""

    def ask() -> str:
        note_incoming(via_header)
        return outgoing(OWN)

    return copy_context().run(ask)


def test_an_id_is_16_hexadecimal_digits_and_another_each_time() -> None:
    made = {new_instance_id() for _ in range(20)}
    assert len(made) == 20
    assert all(entries(each) == outgoing(each) for each in made)
    assert all(is_loop(entries(each), each) for each in made)


@pytest.mark.parametrize(
    ("incoming", "expected"),
    [
        ("", [OWN]),
        (entries(*OTHERS[:2]), [*OTHERS[:2], OWN]),
        (f"1.1 varnish, {entries(OTHERS[0])} , 1.0 fred", [OTHERS[0], OWN]),
        (entries(*OTHERS), [*OTHERS[-10:], OWN]),
        ("1.1 chart-gateway-xyz", [OWN]),
        (f"1.1 chart-gateway-{OTHERS[0].upper().replace('0', 'A')}", [OWN]),
        (f"1.1 chart-gateway-{OTHERS[0]}\n", [OWN]),
        (f"1.1 chart-gateway-{OTHERS[0]} (comment)", [OWN]),
        (f"1.0 chart-gateway-{OTHERS[0]}", [OWN]),
        ("1.1 chart-gateway-" + "٣" * 16, [OWN]),
        ("," * 5000, [OWN]),
    ],
)
def test_only_the_gateways_that_a_request_came_through_travel_on(incoming: str, expected: list[str]) -> None:
    assert sent_after(incoming) == entries(*expected)


def test_what_one_request_came_through_is_not_sent_for_another() -> None:
    assert sent_after(entries(OTHERS[0])) == entries(OTHERS[0], OWN)
    assert outgoing(OWN) == entries(OWN)


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("", False),
        (entries(OWN), True),
        (entries(OTHERS[0], OWN, OTHERS[1]), True),
        (f"1.1 cdn, {entries(OWN)}", True),
        (entries(*OTHERS[:3]), False),
        (entries(*OTHERS[:4]), True),
        ("1.1 a, 1.1 b, 1.1 c, 1.1 d, 1.1 e", False),
        (OWN, False),
    ],
)
def test_a_loop_is_our_own_id_or_more_gateways_than_three(via: str, *, expected: bool) -> None:
    assert is_loop(via, OWN) == expected
