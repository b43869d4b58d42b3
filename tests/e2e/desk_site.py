"""A gateway with its admin desk, upstreams that have something to show, and Chromium in front of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.clients import browser
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

ADMIN_TOKEN = "a-token-for-tests-0123456789"
README = b"""# Argo CD

Continuous delivery for **Kubernetes**, by [GitOps](https://argo-cd.example).

| Key | Default |
| --- | --- |
| `server.replicas` | `1` |

```yaml
server:
  replicas: 2
```

<script>window.hurt = true</script>
[click](javascript:window.hurt=true) <img src=x onerror="window.hurt=true">
"""
VALUES = b"# Values of the chart\nserver:\n  replicas: 1\n  service:\n    type: ClusterIP\n"
_CHART = {"values.yaml": VALUES, "README.md": README}
ARGO = "argoproj.github.io/argo-helm"
PROMETHEUS = "prometheus-community.github.io/helm-charts"
GONE = "charts.gone.example"


def argo_charts() -> Mapping[str, bytes]:
    described = {
        "description": "A Helm chart for Argo CD, a declarative GitOps tool",
        "home": "https://argo-cd.example",
    }
    versions = ("5.51.6", "5.53.0", "6.7.11", "7.1.0")
    charts = [make_chart("argo-cd", one, _CHART, appVersion="v2.9", **described) for one in versions]
    return repository_of(*charts, make_chart("argo-workflows", "0.41.1", _CHART))


def prometheus_charts() -> Mapping[str, bytes]:
    return repository_of(
        make_chart("prometheus", "25.8.0", _CHART), make_chart("alertmanager", "1.7.0", _CHART)
    )


RULES = """\
version: 1

upstreams:
  {argo}: {{kind: helm, url: "{argo_url}", allow_private: true}}
  {prometheus}: {{kind: helm, url: "{prometheus_url}", allow_private: true}}
  {gone}: {{kind: helm, url: "http://127.0.0.1:9", allow_private: true}}

rules:
  # the names that our teams use
  - name: short refs for Argo
    repository: "argo/*"
    rewrite: {argo}/$1
  - name: Prometheus and friends
    repository: "prom/*"
    rewrite: {prometheus}/$1
  - name: nothing from the old place
    repository: "old/**"
    deny: "use argo/ instead"

sync:
  - name: the platform
    charts:
      - {{repository: argo/argo-cd, versions: ">= 6", newest: 2}}
      - {{repository: prom/prometheus, newest: 1}}
  - name: what is gone
    charts:
      - {{repository: {gone}/app, newest: 1}}

tests:
  - {{ask: argo/argo-cd, target: {argo}/argo-cd}}
"""


@dataclass(frozen=True, slots=True)
class DeskSite:
    """A running gateway; ``url`` is the admin listener's."""

    site: Site
    server: Server
    url: str
    argo: HelmRepo

    def wait_until_counted(self) -> None:
        """Until the workers told what they served; they do so every few seconds."""
        eventually(lambda: bool(self.api("GET", "/activity/pulls").json()["pulls"]), PATIENCE_SECONDS)

    def wait_until_in_force(self, revision: int) -> None:
        """Until the workers follow it."""

        def is_followed() -> bool:
            is_here: bool = self.server.get("/readyz").json()["rules"]["revision"] == revision
            return is_here

        eventually(is_followed, PATIENCE_SECONDS)

    def api(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Ask the admin API as the editor whose token ADMIN_TOKEN is."""
        sent = {"Authorization": f"Bearer {ADMIN_TOKEN}", **headers}
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            return client.request(method, f"{self.url}/admin/api{path}", json=body, headers=sent)


@contextmanager
def desk_site(site: Site, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[DeskSite]:
    """A gateway by RULES with the desk on a free port."""
    with ExitStack() as stack:
        argo = stack.enter_context(HelmRepo(argo_charts()))
        prometheus = stack.enter_context(HelmRepo(prometheus_charts()))
        site.write_rules(
            RULES.format(
                argo=ARGO, argo_url=argo.url, prometheus=PROMETHEUS, prometheus_url=prometheus.url, gone=GONE
            )
        )
        given = {"GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN, **(environment or {})}
        server = stack.enter_context(site.serve("--admin-port", "0", *flags, environment=given))
        yield DeskSite(site, server, _origin(str(server.wait_for("listening")["admin"])), argo)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real browser, without a window."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    name: str
    width: int
    height: int
    scheme: Literal["dark", "light"]


LIGHT = Look("light", 1280, 800, "light")
DARK = Look("dark", 1280, 800, "dark")
PHONE = Look("phone", 390, 844, "light")
LOOKS = (LIGHT, DARK, PHONE)


def open_context(
    launched: Browser, url: str, look: Look = LIGHT, *, has_script: bool = True
) -> BrowserContext:
    """A browser nobody used before; what takes longer than a test may, fails."""
    context = launched.new_context(
        base_url=url,
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        java_script_enabled=has_script,
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    return context


def sign_in(page: Page, token: str = ADMIN_TOKEN, path: str = "/admin/") -> None:
    page.goto(path)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def complaints(page: Page) -> list[str]:
    """What the page said on its console as errors, from now on."""
    told: list[str] = []
    add: Callable[[str], None] = told.append
    page.on("console", lambda message: add(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: add(str(error)))
    return told


def fill(desk: DeskSite) -> None:
    """Have something to look at: pulls of all kinds, a denial, an upstream that is gone."""
    accept = "application/vnd.oci.image.manifest.v1+json"
    asked = [f"argo/argo-cd/manifests/{one}" for one in ("5.51.6", "5.53.0", "6.7.11", "7.1.0")]
    asked += ["argo/argo-workflows/manifests/0.41.1", "prom/prometheus/manifests/25.8.0"]
    asked += [f"{ARGO}/argo-cd/manifests/7.1.0", "prom/alertmanager/manifests/1.7.0"]
    with httpx.Client(base_url=f"{desk.server.url}/v2/", trust_env=False, timeout=PATIENCE_SECONDS) as client:
        for times, path in enumerate(asked, start=1):
            for _ in range(times):
                client.get(path, headers={"Accept": accept}).raise_for_status()
        client.get("argo/argo-cd/tags/list").raise_for_status()
        assert client.get("old/chart/manifests/1.0.0").status_code == 403
        assert client.get(f"{GONE}/app/manifests/1.0.0").status_code == 503


PAGES = {
    "overview": "/admin/",
    "rules": "/admin/rules",
    "rules-try": "/admin/rules?try=argo/argo-cd:7.1.0",
    "rule-edit": "/admin/rules/edit?number=1",
    "rules-yaml": "/admin/rules/yaml",
    "rules-history": "/admin/rules/history",
    "catalog": "/admin/catalog",
    "repository": "/admin/catalog/repository?name=argo/argo-cd",
    "tag": "/admin/catalog/tag?name=argo/argo-cd&reference=7.1.0",
    "upstreams": "/admin/upstreams",
    "mirror": "/admin/mirror",
    "bundles": "/admin/bundles",
    "events": "/admin/events",
    "storage": "/admin/storage",
    "settings": "/admin/settings",
    "access": "/admin/access",
}
