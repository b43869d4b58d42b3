"""How often one client may be wrong."""

import pytest

from gateway.access.throttle import WRONG_TRIES, Throttle
from gateway.oci.errors import OciError, Situation

ANNA, BORIS = "192.0.2.1", "192.0.2.2"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def refusal(throttle: Throttle, client: str) -> OciError:
    with pytest.raises(OciError) as caught:
        throttle.require(client)
    assert caught.value.situation is Situation.RATE_LIMITED
    return caught.value


def wrong(throttle: Throttle, client: str, times: int = WRONG_TRIES) -> None:
    for _ in range(times):
        throttle.require(client)
        throttle.judge(client, is_right=False)


def test_after_ten_wrong_tries_within_a_minute_one_has_to_wait() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    wrong(throttle, ANNA, 9)
    clock.now += 20.5
    wrong(throttle, ANNA, 1)
    assert refusal(throttle, ANNA).retry_after_seconds == 40
    clock.now += 39.5
    wrong(throttle, ANNA, 9)
    assert refusal(throttle, ANNA).retry_after_seconds == 21


def test_nobody_waits_for_what_others_did_wrong() -> None:
    throttle = Throttle(Clock())
    wrong(throttle, ANNA)
    throttle.require(BORIS)


def test_whoever_is_right_is_not_counted_and_forgives_nothing() -> None:
    throttle = Throttle(Clock())
    wrong(throttle, ANNA, 9)
    for _ in range(50):
        throttle.judge(ANNA, is_right=True)
    wrong(throttle, ANNA, 1)
    refusal(throttle, ANNA)


def test_a_right_try_that_was_begun_before_the_wrong_ones_ended_is_refused_too() -> None:
    throttle = Throttle(Clock())
    throttle.require(ANNA)
    wrong(throttle, ANNA)
    with pytest.raises(OciError):
        throttle.judge(ANNA, is_right=True)


def test_where_no_other_client_can_be_remembered_a_new_one_waits_until_one_is_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(clock, clients=3)
    for number in range(3):
        wrong(throttle, f"192.0.2.{number}", 1)
        clock.now += 10
    assert refusal(throttle, "192.0.2.99").retry_after_seconds == 30
    throttle.require("192.0.2.1")
    clock.now += 30
    throttle.require("192.0.2.99")
