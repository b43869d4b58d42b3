"""An index in any style is served, and a hostile one harms nobody."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import index_of, make_chart
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

HOST = "charts.example.test"
DEMO = make_chart("demo", "1.2.3")
HONEST = index_of({"demo-1.2.3.tgz": DEMO})
INDEX = yaml.safe_load(HONEST)
_BOMB = "l0: &l0 [x]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))

ODD = {
    "flow": yaml.safe_dump(INDEX, default_flow_style=True).encode(),
    "json": json.dumps(INDEX).encode(),
    "quoted": yaml.safe_dump(INDEX, default_style='"').encode(),
    "anchored": HONEST.replace(b"entries:\n", b"entries: &all\n", 1),
    "with-bom": b"\xef\xbb\xbf" + HONEST.replace(b"\n", b"\r\n"),
}
HOSTILE = {
    "brackets": b"[" * 60_000,
    "closed-brackets": b"entries:\n  demo: " + b"[" * 30_000 + b"]" * 30_000,
    "braces": b"{a: " * 50_000,
    "bomb": f"{_BOMB}entries:\n  demo: *l11\n".encode(),
    "bomb-in-flow-style": f"{_BOMB}entries: {{demo: *l11}}\n".encode(),
    "digits": b"entries:\n  demo:\n  - version: " + b"9" * 100_000 + b"\n",
    "text": b"not an index, but a sentence\n",
    "empty": b"",
    "binary": bytes(range(256)) * 100,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("site"))
    indexes = {**ODD, **HOSTILE, "honest": HONEST}
    files = {f"{name}/index.yaml": index for name, index in indexes.items()}
    with HelmRepo({**files, **{f"{name}/demo-1.2.3.tgz": DEMO for name in indexes}}) as repo:
        site.point_at({HOST: repo}, "{missing_for: 0s}")
        with site.serve(workers=2) as server:
            yield server


@pytest.mark.parametrize("style", ODD)
def test_an_index_in_another_style_is_served(server: Server, style: str) -> None:
    honest = server.get(f"/v2/{HOST}/honest/demo/manifests/1.2.3")
    odd = server.get(f"/v2/{HOST}/{style}/demo/manifests/1.2.3")
    assert (odd.status_code, odd.content) == (200, honest.content)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_index_is_refused_and_the_same_workers_serve_on(server: Server, kind: str) -> None:
    before = server.worker_pids()
    for _ in range(4):  # as it comes, either worker meets it
        refused = server.get(f"/v2/{HOST}/{kind}/demo/manifests/1.2.3")
        assert refused.status_code in (404, 502), refused.text
        assert server.get(f"/v2/{HOST}/honest/demo/manifests/1.2.3").status_code == 200
    assert server.worker_pids() == before
    assert server.events("worker_died") == []
