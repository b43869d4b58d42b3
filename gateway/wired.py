"""What clients are told so that they ask this gateway: files, and what is to be known beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.oci.urls import HttpUrl

CA_FILE: Final = "chart-gateway-ca.crt"
_SLUG_LENGTH: Final = 200  # names of Kubernetes objects have at most 253 characters


@dataclass(frozen=True, slots=True)
class WiredFile:
    """``name`` is a path below the folder that the client reads, or that it is given from."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Wired:
    """``notes`` say where the files go, and what the client cannot do."""

    files: tuple[WiredFile, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChartWanted:
    """A chart by its name here, and the range of versions that a list keeps of it."""

    repository: str
    versions: str | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stands before charts' names; ``stands_for`` are the repositories that it leads to, as URLs."""

    name: str
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """``ca`` is the certificate that clients have to trust, as PEM.

    ``has_default``: containerd asks here for every registry; ``is_exclusive``: nobody else is asked where we
    cannot answer.
    """

    ca: str | None = None
    has_default: bool = False
    is_exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """What the rules say that clients are to know, and where they reach us (``url``, without a path)."""

    url: HttpUrl
    registries: tuple[str, ...]
    prefixes: tuple[Prefix, ...]
    charts: tuple[ChartWanted, ...]
    wishes: Wishes

    @property
    def authority(self) -> str:
        return self.url.authority

    @property
    def is_plain(self) -> bool:
        return self.url.scheme == "http"

    @property
    def ca_files(self) -> tuple[WiredFile, ...]:
        return () if self.wishes.ca is None else (WiredFile(CA_FILE, self.wishes.ca),)

    def classic_url(self, prefix: Prefix) -> str:
        return f"{self.url.origin}/charts/{prefix.name}"


def slugs(names: Sequence[str]) -> Sequence[str]:
    """A word for each that Kubernetes, Helm and Harbor take as a name, no two alike."""
    used: set[str] = set()
    found: list[str] = []
    for name in names:
        base = slug = "-".join(part for part in _dashed(name).split("-") if part)[:_SLUG_LENGTH].rstrip("-")
        count = 2
        while slug in used:
            slug = f"{base}-{count}"
            count += 1
        used.add(slug)
        found.append(slug)
    return found


def indented(text: str, width: int) -> str:
    """Lines of a block of YAML text."""
    return "".join(f"{' ' * width}{line}\n" for line in text.splitlines())


def _dashed(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
