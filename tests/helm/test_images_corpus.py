"""Images of real charts: as many as were found and compared with what Helm renders, and none fewer.

tests/e2e/test_images_rendered.py has Helm itself as the judge.
"""

from pathlib import Path

import pytest

from gateway.helm.chart_tree import read_chart_tree
from gateway.helm.images import ChartImages, images_of

pytestmark = pytest.mark.slow

SANDBOX = "cloudnative-pg.github.io/charts/cnpg-sandbox-0.6.0.tgz"


def images(path: Path) -> ChartImages:
    with path.open("rb") as archive:
        return images_of(read_chart_tree(archive))


def test_every_chart_of_the_corpus_names_images_that_are_understood(corpus: Path) -> None:
    found = [images(path) for path in sorted(corpus.rglob("*.tgz"))]
    assert len(found) == 355
    assert sum(len(one.found) for one in found) == 941
    assert all(one.found for one in found)
    told = [line for one in found for line in one.not_understood if "leaves it out by default" not in line]
    assert len(told) == 28
    assert all(line.endswith("it has neither tag nor digest") for line in told)


def test_a_chart_of_charts_of_charts_names_those_of_all(corpus: Path) -> None:
    """Three deep; Helm renders nine of them by default, the others can be switched on."""
    assert {
        str(image.location).partition(":")[0].partition("@")[0] for image in images(corpus / SANDBOX).found
    } == {
        "docker.io/bats/bats",
        "docker.io/curlimages/curl",
        "docker.io/grafana/grafana",
        "docker.io/grafana/grafana-image-renderer",
        "docker.io/library/busybox",
        "ghcr.io/cloudnative-pg/cloudnative-pg",
        "k8s.gcr.io/ingress-nginx/kube-webhook-certgen",
        "k8s.gcr.io/kube-state-metrics/kube-state-metrics",
        "quay.io/kiwigrid/k8s-sidecar",
        "quay.io/prometheus-operator/prometheus-config-reloader",
        "quay.io/prometheus-operator/prometheus-operator",
        "quay.io/prometheus/alertmanager",
        "quay.io/prometheus/prometheus",
        "quay.io/thanos/thanos",
    }
