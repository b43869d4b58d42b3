"""The digest of a lock is the one that Helm computes, of both kinds."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.helm.archive import ChartFiles
from gateway.helm.document import parse_document
from gateway.helm.lock import Lock, Locking, digest_after, parse_lock
from gateway.helm.metadata import Dependency, MetadataError, parse_metadata

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

HELM_3 = (  # of argo-cd 3.4.0, as Helm wrote it
    "dependencies:\n- condition: redis-ha.enabled\n  name: redis-ha\n"
    "  repository: https://dandydeveloper.github.io/charts/\n  version: 4.12.14\n",
    "dependencies:\n- name: redis-ha\n  repository: https://dandydeveloper.github.io/charts/\n"
    "  version: 4.12.14\n"
    "digest: sha256:34275a4f4df92c570d07b0553da5d1fa200b6f057f7091746c853fd7399ee30a\n",
)
HELM_2 = (  # of argo 0.10.0
    "dependencies:\n- name: minio\n  version: 5.0.6\n"
    "  repository: https://kubernetes-charts.storage.googleapis.com/\n  condition: minio.install\n",
    "dependencies:\n- name: minio\n  repository: https://kubernetes-charts.storage.googleapis.com/\n"
    "  version: 5.0.6\n"
    "digest: sha256:373b459c6232e9fd4dd86fa0af01e024372f686a0cdfbfed69d3cd41859e8ad4\n",
)


def required(yaml: str) -> tuple[Dependency, ...]:
    return parse_metadata(ChartFiles(b"name: demo\nversion: 1.2.3\n", yaml.encode())).dependencies


def lock(yaml: str) -> Lock:
    return parse_lock(parse_document(yaml.encode()), "Chart.lock")


def moved(dependencies: Sequence[Dependency]) -> tuple[Dependency, ...]:
    return tuple(replace(dependency, repository="oci://gw/x") for dependency in dependencies)


@pytest.mark.parametrize("written", [HELM_3, HELM_2], ids=["Helm 3", "Helm 2"])
def test_a_lock_that_helm_wrote_is_in_step_and_stays_so(written: tuple[str, str]) -> None:
    found = lock(written[1])
    before = Locking(required(written[0]), found.dependencies)
    assert digest_after(found.digest, before, before) == found.digest
    after = Locking(moved(before.required), moved(found.dependencies))
    digest = digest_after(found.digest, before, after)
    assert digest != found.digest
    assert digest_after(digest, after, before) == found.digest


def test_a_lock_that_is_out_of_sync_stays_so() -> None:
    found = lock(HELM_3[1].replace("4.12.14", "4.12.15"))
    before = Locking(required(HELM_3[0]), found.dependencies)
    after = Locking(moved(before.required), moved(found.dependencies))
    assert digest_after(found.digest, before, after) == found.digest


@pytest.mark.parametrize("alias", ["'@dandy'", "alias:dandy"])
def test_an_alias_counts_as_what_was_locked_for_it(alias: str) -> None:
    """Helm puts the URL from its user's settings in its place, before it hashes."""
    found = lock(HELM_3[1])
    requirements = required(HELM_3[0].replace("https://dandydeveloper.github.io/charts/", alias))
    before = Locking(requirements, found.dependencies)
    after = Locking(requirements, moved(found.dependencies))
    digest = digest_after(found.digest, before, after)
    with_url = Locking(required(HELM_3[0]), moved(found.dependencies))
    assert digest == digest_after(found.digest, Locking(with_url.required, found.dependencies), with_url)
    assert digest != found.digest


def test_what_is_locked_is_read_as_it_is_written() -> None:
    (dependency,) = lock("dependencies: [{name: 'a\u200b', version: 1.10, Repository: ' x '}]").dependencies
    assert (dependency.name, dependency.version, dependency.repository) == ("a\u200b", "1.1", " x ")


@pytest.mark.parametrize("text", ["[]", "dependencies: x", "dependencies: [null]", "digest: []"])
def test_what_helm_could_not_read_is_refused(text: str) -> None:
    with pytest.raises(MetadataError, match=r"Chart\.lock"):
        lock(text)
