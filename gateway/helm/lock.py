"""Chart.lock and requirements.lock: what is locked, and the digest that ties it to what is required."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.helm.document import Value
from gateway.helm.fields import Fields
from gateway.helm.metadata import Dependency
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact

_ALIASES = ("@", "alias:")


@dataclass(frozen=True, slots=True)
class Lock:
    dependencies: tuple[Dependency, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Locking:
    """What a chart requires beside what its lock has for it."""

    required: Sequence[Dependency]
    locked: Sequence[Dependency]


def parse_lock(document: Value, name: str) -> Lock:
    """Read a lock as Helm does, which does not clean its texts; MetadataError where Helm could not."""
    fields = Fields.of(document, name)
    return Lock(tuple(map(_locked, fields.records("dependencies"))), fields.text("digest"))


def digest_after(digest: str, before: Locking, after: Locking) -> str:
    """Return the digest that Helm wants for ``after``, if ``digest`` was right ``before``; else itself.

    A lock that was out of sync stays so: upstream may mean it. Helm takes two digests (HashReq and, of
    Helm 2's charts alone, HashV2Req in internal/resolver), and the new one is of the same kind.
    """
    if digest == _digest(before, before.locked):
        return _digest(after, before.locked)
    if digest == _digest_of_helm_2(before):
        return _digest_of_helm_2(after)
    return digest


def _digest(locking: Locking, resolved: Sequence[Dependency]) -> str:
    """Before it hashes, Helm puts the URL for an alias, from its user's settings: the one that was locked."""
    required = list(locking.required)
    for place, (dependency, other) in enumerate(zip(required, resolved, strict=False)):
        if dependency.repository.startswith(_ALIASES):
            required[place] = replace(dependency, repository=other.repository)
    return _sha256([_json(required), _json(locking.locked)])


def _digest_of_helm_2(locking: Locking) -> str:
    return _sha256({"dependencies": _json(locking.required)})


def _sha256(value: object) -> str:
    return str(Digest.of(dump_compact(value)))


def _json(dependencies: Sequence[Dependency]) -> list[dict[str, object]]:
    return [dependency.to_json() for dependency in dependencies]


def _locked(fields: Fields) -> Dependency:
    return Dependency(
        name=fields.text("name"),
        version=fields.text("version"),
        repository=fields.text("repository"),
        condition=fields.text("condition"),
        tags=fields.lines("tags"),
        enabled=fields.flag("enabled"),
        import_values=fields.untyped("import-values"),
        alias=fields.text("alias"),
    )
