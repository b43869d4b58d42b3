"""The lock files hold what pyproject.toml asks for, and nothing comes without its hash."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"(?P<name>[a-zA-Z0-9._-]+)==(?P<version>[^ ;\\]+)(?P<rest>(?:.*\\\n)*.*\n)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def pins(lock: str) -> Mapping[str, re.Match[str]]:
    """Return each pinned package of a lock file by its normalised name."""
    text = (PROJECT / lock).read_text("utf-8")
    return {canonicalize_name(match["name"]): match for match in _PIN.finditer(text)}


def asked(*extras: str) -> Sequence[Requirement]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = [
        *project["dependencies"],
        *(text for extra in extras for text in project["optional-dependencies"][extra]),
    ]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.lock", ("postgres",)), ("requirements-dev.lock", ("dev", "postgres"))]
)
def test_every_requirement_is_pinned_at_a_version_it_allows(lock: str, extras: tuple[str, ...]) -> None:
    locked = pins(lock)
    for requirement in asked(*extras):
        pin = locked[canonicalize_name(requirement.name)]
        assert Version(pin["version"]) in requirement.specifier, (
            f"`make lock`: {requirement} is {pin['version']}"
        )


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_has_a_hash_and_the_lock_names_no_index(lock: str) -> None:
    assert [name for name, pin in pins(lock).items() if not _HASH.search(pin["rest"])] == []
    assert "://" not in (PROJECT / lock).read_text("utf-8")


def test_development_runs_what_production_runs() -> None:
    developed = {name: pin["version"] for name, pin in pins("requirements-dev.lock").items()}
    released = {name: pin["version"] for name, pin in pins("requirements.lock").items()}
    assert released.items() <= developed.items()
