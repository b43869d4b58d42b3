"""Which calls are struck: all where ``CRASH_POINTS=all``, else every so many, from another one each time."""

import os
import random
from collections.abc import Iterator
from itertools import count
from typing import Final

TAKES_ALL: Final = os.environ.get("CRASH_POINTS") == "all"
_STRIDE: Final = 1 if TAKES_ALL else 97


def crash_points() -> Iterator[int]:
    """Without end: who strikes stops after the first that found no call to strike."""
    first = random.randint(1, _STRIDE)
    print(f"every {_STRIDE}. call, from the {first}. on")  # noqa: T201 (shown where a test fails)
    return count(first, _STRIDE)
