"""Images in manifests, line by line: what follows ``image:``, and names on well-known registries."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_DOCUMENT: Final = re.compile(r"^---", re.MULTILINE)
_CRD: Final = re.compile(r"^kind:\s*[\"']?CustomResourceDefinition", re.MULTILINE)
_LINE: Final = re.compile(
    r"\s*(?:-\s+)?[\"']?(?P<key>[A-Za-z_]{0,40}[iI]mage(?:Name)?)[\"']?\s*:\s+(?P<rest>\S.*)"
)
_QUOTED: Final = re.compile(r"([\"'])(.*?)\1")
_REGISTRIES: Final = (
    r"(?:docker\.io|quay\.io|ghcr\.io|gcr\.io|registry\.k8s\.io|public\.ecr\.aws|mcr\.microsoft\.com"
    r"|pkg\.dev|registry\.gitlab\.com|docker\.elastic\.co|nvcr\.io|registry\.suse\.com|lscr\.io)"
)
_KNOWN: Final = re.compile(
    rf"(?<![\w./-])(?:[a-z0-9-]+\.)*{_REGISTRIES}/[a-z0-9._/-]+:[\w][\w.-]*(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
_MOST: Final = 2_000  # characters of a line


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """``is_named``: it follows ``image:`` itself; of other keys and places it may be something else."""

    text: str
    is_named: bool


def images_written(manifests: str) -> Iterator[WrittenImage]:
    """Give what stands in the place of an image; definitions of resources only describe some."""
    for document in _DOCUMENT.split(manifests):
        if "image" in document.casefold() and not _CRD.search(document):
            for line in document.splitlines():
                yield from _in_line(line[:_MOST])


def _in_line(line: str) -> Iterator[WrittenImage]:
    if line.lstrip().startswith("#"):
        return
    match = _LINE.fullmatch(line)
    text = "" if match is None else _scalar(match["rest"])
    if match is not None and text:
        yield WrittenImage(text, match["key"] == "image")
        return
    for known in _KNOWN.finditer(line):
        yield WrittenImage(known[0], False)


def _scalar(rest: str) -> str:
    quoted = _QUOTED.match(rest)
    text = quoted[2] if quoted else rest.partition(" #")[0].strip()
    return "" if text.startswith(("{", "[", "&", "*", "|", ">", "!", "#")) else text
