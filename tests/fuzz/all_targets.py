"""Every fuzz target by its name, and the inputs that broke one once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fuzz import bundles, chart_images, charts, indexes, names, operators, requests, upstream
from tests.fuzz.target import Target

_FOUND = Path(__file__).parent / "found"

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (names, upstream, indexes, charts, chart_images, operators, requests, bundles)
    for target in module.TARGETS
}


def found_once(name: str) -> Sequence[Path]:
    """The files that hold what broke a target once: ``found/<name>/…``."""
    return sorted((_FOUND / name).glob("*"))
