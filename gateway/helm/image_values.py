"""Images in the values of a chart, by the shapes in which charts write them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.helm.go_values import Datum, field_of, printed
from gateway.helm.image_names import ImageParts, has_version

_SHOWN: Final = 100  # of a key
_REPOSITORY: Final = frozenset(("repository", "repo"))
_NAMED: Final = re.compile(r"(.*?)(?:image|imagename|imagerepository|imagerepo)", re.ASCII)
_TAGS: Final = ("tag", "imagetag", "version", "imageversion")
_REGISTRIES: Final = ("registry", "imageregistry", "hub")
_DIGESTS: Final = ("digest", "imagedigest", "sha")
_MARKS: Final = frozenset({*_TAGS, *_REGISTRIES, *_DIGESTS, "pullpolicy", "imagepullpolicy"})


@dataclass(frozen=True, slots=True)
class ValuedImage:
    """``parts`` as they stand at ``path``, such as ``controller.image.repository``."""

    path: str
    parts: ImageParts


def images_in(values: Mapping[str, Datum]) -> Iterator[ValuedImage]:
    """Give what has the shape of an image: a name with registry, tag or digest beside it, or all in one.

    Names may be no images' at all, and tags may be missing: who asks decides what that means.
    """
    shared = field_of(values, "global")
    registry = field_of(shared, "imageRegistry") or field_of(field_of(shared, "image"), "registry")
    yield from _below(values, "", "", _text(registry))


def _below(value: Datum, path: str, key: str, registry: str) -> Iterator[ValuedImage]:
    """``key`` is what ``value`` is called, ``registry`` the one that all images are to come from."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            here = f"{path}[{place}]"
            if _is_image_key(key) and _text(item):
                yield ValuedImage(here, ImageParts(_text(item)))
            yield from _below(item, here, key, registry)
    elif isinstance(value, Mapping):
        members = {_plain(name): member for name, member in value.items()}
        for name, member in value.items():
            here = f"{path}.{name[:_SHOWN]}" if path else name[:_SHOWN]
            parts = _parts(members, _plain(name), key)
            if parts is not None:
                yield ValuedImage(
                    here, ImageParts(parts.repository, registry or parts.registry, *parts.version)
                )
            yield from _below(member, here, _plain(name), registry)


def _parts(members: Mapping[str, Datum], name: str, key: str) -> ImageParts | None:
    """What the member ``name`` says with what is beside it; ``key`` is what the whole is called."""
    text = _text(members.get(name))
    if not text or "://" in text:
        return None
    if key == "images" and has_version(text):
        return ImageParts(text)
    prefix = _prefix(members, name, key)
    if prefix is None:
        return None
    return ImageParts(
        text,
        _first(members, [prefix + one for one in _REGISTRIES]),
        _first(members, [prefix + one for one in _TAGS]),
        _first(members, [prefix + one for one in _DIGESTS]),
    )


def _prefix(members: Mapping[str, Datum], name: str, key: str) -> str | None:
    """What stands before ``tag`` where that belongs to the image ``name``; None where it is no image."""
    is_image = _is_image_key(key)
    if name in _REPOSITORY:
        return "" if is_image or not _MARKS.isdisjoint(members) else None
    if _REPOSITORY & members.keys() and name in ("image", "name", "imagename"):
        return None
    if name == "name":
        return "" if is_image and not members.keys().isdisjoint(_TAGS) and "image" not in members else None
    match = _NAMED.fullmatch(name)
    return None if match is None else match[1]


def _is_image_key(key: str) -> bool:
    return key.endswith(("image", "images"))


def _plain(name: str) -> str:
    """A key as it counts: ``image_tag`` and ``imageTag`` are alike."""
    return name.casefold().replace("_", "").replace("-", "")


def _first(members: Mapping[str, Datum], names: Sequence[str]) -> str:
    return next((text for name in names if (text := _text(members.get(name)))), "")


def _text(datum: Datum) -> str:
    return printed(datum) if isinstance(datum, str | int) and not isinstance(datum, bool) else ""
