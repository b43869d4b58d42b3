"""Across an air-gap with real clients, told step by step: ``python -m tests.e2e.air_gap_story FILE``.

Outside, a gateway fills itself from a mirror list. A bundle crosses. Inside, in a network namespace that has
loopback alone, a gateway serves it to clients of every age.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients import helm, skopeo
from tests.e2e.gateway_process import PATIENCE_SECONDS, Ran, Site, eventually
from tests.e2e.namespaces import Inside, no_way_out
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, signature_by_tag
from tests.fakes.registry import FakeRegistry

ARGO = "argoproj.github.io/argo-helm"
DANDYDEVELOPER = "dandydeveloper.github.io/charts"
VALUES = b"""\
image: {repository: quay.io/argoproj/argocd, tag: ""}
server: {replicas: 2}
"""
TEMPLATE = b"""\
apiVersion: apps/v1
kind: Deployment
metadata: {name: argocd-server}
spec:
  replicas: {{ .Values.server.replicas }}
  template:
    spec:
      containers:
        - image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
"""
VERSIONS = ("4.10.9", "5.46.8", "5.51.6", "6.0.0")
RULES = """\
version: 1

upstreams:
  argoproj.github.io/argo-helm: {{kind: helm, url: "{argo}", allow_private: true}}
  dandydeveloper.github.io/charts: {{kind: helm, url: "{dandydeveloper}", allow_private: true}}
  quay.io: {{kind: registry, url: "{quay}", allow_private: true}}

rules:
  - name: Argo's own site, also for clients of classic repositories
    host: argoproj.github.io
    rewrite: argoproj.github.io/$0
    classic: true
  - name: short refs for Argo
    repository: "argo/*"
    rewrite: argoproj.github.io/argo-helm/$1

sync:
  - name: platform
    every: 6h
    charts:
      - repository: argo/argo-cd
        versions: ">=5"
        newest: 2
        dependencies: true
        images: true
        signatures: true
        platforms: [linux/amd64]
"""


@dataclass(slots=True)
class Story:
    """What was run, and what came of it, as text for people."""

    hidden: Mapping[str, str]
    lines: list[str] = field(default_factory=list)

    def chapter(self, title: str) -> None:
        self.lines += ["", f"## {title}", ""]

    def tell(self, command: Sequence[str | Path], ran: Ran) -> Ran:
        shown = " ".join(_word(part) for part in command)
        output = (ran.errors + ran.output).strip()  # what is told on the way first
        self.lines += ["```console", self._clean(f"$ {shown}"), *self._clean(output).splitlines(), "```", ""]
        return ran

    def _clean(self, text: str) -> str:
        for here, told in self.hidden.items():
            text = text.replace(here, told)
        return re.sub(r"localhost:[0-9]+", "localhost:9000", text)


def _word(part: str | Path) -> str:
    text = part.name if isinstance(part, Path) and os.access(part, os.X_OK) and part.is_file() else str(part)
    text = re.sub(r"^(helm)-[0-9.]+$", r"\1", text)
    return f"'{text}'" if re.search(r"[ *{}$]", text) else text


@dataclass(frozen=True, slots=True)
class World:
    """The upstreams."""

    argo: HelmRepo
    dandydeveloper: HelmRepo
    quay: FakeRegistry

    @property
    def urls(self) -> Mapping[str, str]:
        """Where each is, by the word that the rules have for it."""
        return {
            "argo": self.argo.url,
            "dandydeveloper": self.dandydeveloper.url,
            "quay": self.quay.origin,
        }


def argo_charts(*versions: str) -> Mapping[str, bytes]:
    files = {
        "values.yaml": VALUES,
        "templates/server.yaml": TEMPLATE,
        "charts/redis-ha/Chart.yaml": b"{apiVersion: v2, name: redis-ha, version: 4.26.1}\n",
    }
    needs = [{"name": "redis-ha", "version": "~4.26", "repository": f"https://{DANDYDEVELOPER}"}]
    made = (make_chart("argo-cd", one, files, appVersion="v2.8.4", dependencies=needs) for one in versions)
    return repository_of(*made)


@contextmanager
def world() -> Iterator[World]:
    redis = make_chart("redis-ha", "4.26.1", {"values.yaml": b"replicas: 3\n"})
    quay = FakeRegistry()
    image = OCI.image_index(2_000, 40_000, seed="argocd")
    image.push_to(quay, "argoproj/argocd", "v2.8.4")
    tag, signature = signature_by_tag(image)
    signature.push_to(quay, "argoproj/argocd", tag)
    argo, dandydeveloper = HelmRepo(argo_charts(*VERSIONS)), HelmRepo(repository_of(redis))
    with argo, dandydeveloper, quay:
        yield World(argo, dandydeveloper, quay)


@dataclass(frozen=True, slots=True)
class Teller:
    """Runs commands where they belong, and tells the story of it."""

    story: Story
    site: Site
    inside: Inside
    home: Path

    def outside(self, *arguments: str) -> Ran:
        return self.story.tell(["gateway", *arguments], self.site.run(*arguments))

    def shell(self, *command: str) -> Ran:
        """A program outside."""
        done = subprocess.run(command, cwd=self.site.folder, capture_output=True, text=True, check=False)
        return self.story.tell(command, Ran(done.returncode, done.stdout, done.stderr))

    def gateway(self, *arguments: str) -> Ran:
        """A command of the gateway, inside."""
        return self._inside(["gateway", *arguments], [sys.executable, "-m", "gateway", *arguments])

    def client(self, program: Path, *arguments: str) -> Ran:
        return self._inside([program, *arguments], [program, *arguments])

    def system(self, *command: str) -> Ran:
        return self._inside(command, command)

    def _inside(self, told: Sequence[str | Path], command: Sequence[str | Path]) -> Ran:
        done = self.inside.run(command, self.home, environment(self.home))
        return self.story.tell(told, Ran(done.returncode, done.stdout, done.stderr))


def environment(home: Path) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}


CHART = """\
apiVersion: v2
name: our-platform
version: 1.0.0
dependencies:
  - {name: argo-cd, version: ">=5 <6", repository: "http://argoproj.github.io/argo-helm"}
  - {name: redis-ha, version: "~4.26", repository: "oci://localhost/dandydeveloper.github.io/charts"}
"""


def tell_all(folder: Path) -> Story:
    """The whole of it; whatever fails, raises."""
    outside, home = folder / "outside", folder / "inside"
    for place in (outside, home, home / "our-platform"):
        place.mkdir()
    story = Story({f"{folder}/": ""})
    with world() as upstreams, no_way_out(home, ["argoproj.github.io"]) as inside:
        site = Site(outside)
        site.write_rules(RULES.format(**upstreams.urls))
        teller = Teller(story, site, inside, home)
        fill(teller)
        carry(teller, folder)
        take_in(teller, upstreams)
        with serving(inside, home):
            use_charts(teller)
            use_images(teller)
            take_in_what_is_new(teller, upstreams, folder)
    return story


def fill(teller: Teller) -> None:
    teller.story.chapter("Outside: a gateway fills itself from a list")
    teller.outside("sync", "--dry-run", "platform").require_ok()
    teller.outside("sync", "platform").require_ok()
    teller.outside("sync", "platform").require_ok()


def carry(teller: Teller, folder: Path) -> None:
    teller.story.chapter("The bundle")
    teller.shell("openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    teller.shell("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
    bundle = folder / "platform.tar.zst"
    teller.outside(
        "export", "--sync", "platform", "-o", str(bundle), "--sign-key", str(teller.site.folder / "key.pem")
    ).require_ok()
    (teller.home / "key.pub").write_bytes((teller.site.folder / "key.pub").read_bytes())
    for crossing in folder.glob("platform.tar.zst*"):
        crossing.rename(teller.home / crossing.name)


def take_in(teller: Teller, upstreams: World) -> None:
    teller.story.chapter("Inside: no way out, and a gateway that takes the bundle in")
    assert teller.system("ip", "route").output == ""
    assert teller.system("curl", "--silent", "--show-error", upstreams.argo.url).code == 7  # cannot connect
    arguments = ("import", "platform.tar.zst", "--verify-key", "key.pub", "--with-rules")
    teller.gateway(*arguments, "--dry-run").require_ok()
    teller.gateway(*arguments).require_ok()
    teller.gateway("list").require_ok()


def use_charts(teller: Teller) -> None:
    teller.story.chapter("Inside: helm, OCI and classic")
    helm_3, home = helm("3"), teller.home
    by_oci = teller.client(
        helm_3, "template", "cd", "oci://localhost/argo/argo-cd", "--version", "5.51.6", "--plain-http"
    ).require_ok()
    assert "image: quay.io/argoproj/argocd:v2.8.4" in by_oci
    teller.client(helm_3, "repo", "add", "argo", "http://argoproj.github.io/argo-helm").require_ok()
    teller.client(helm_3, "repo", "add", "short", "http://localhost/charts/argo").require_ok()
    found = teller.client(helm_3, "search", "repo", "--versions").require_ok()
    assert found.count("argo-cd") == 4  # two versions, by either name
    by_classic = teller.client(helm_3, "template", "cd", "argo/argo-cd", "--version", "5.51.6").require_ok()
    assert by_classic == by_oci.removeprefix("Pulled")
    (home / "our-platform" / "Chart.yaml").write_text(CHART)
    teller.client(helm_3, "dependency", "update", "our-platform", "--plain-http").require_ok()
    teller.client(helm_3, "dependency", "build", "our-platform", "--plain-http").require_ok()
    packed = {path.name for path in (home / "our-platform" / "charts").iterdir()}
    assert packed == {"argo-cd-5.51.6.tgz", "redis-ha-4.26.1.tgz"}


def use_images(teller: Teller) -> None:
    teller.story.chapter("Inside: images, under their own names")
    teller.gateway("wire", "podman", "--url", "http://localhost", "--only", "--output", ".").require_ok()
    mirrored = ("--registries-conf", "registries.conf.d/chart-gateway.conf", "--insecure-policy", "copy")
    image = "docker://quay.io/argoproj/argocd:v2.8.4"
    teller.client(skopeo(), *mirrored, image, "oci:argocd:v2.8.4").require_ok()
    assert (teller.home / "argocd" / "index.json").is_file()
    by_host = "docker://localhost/quay.io/argoproj/argocd:v2.8.4"
    plain = ("--insecure-policy", "copy", "--src-tls-verify=false")
    teller.client(skopeo(), *plain, by_host, "oci:argocd:again").require_ok()


def take_in_what_is_new(teller: Teller, upstreams: World, folder: Path) -> None:
    teller.story.chapter("A week later: what is new crosses, and is served at once")
    for path, content in argo_charts(*VERSIONS, "6.1.0").items():
        upstreams.argo.put(path, content)
    teller.outside("sync", "platform").require_ok()
    whole, new = folder / "platform.tar.zst", folder / "new.tar.zst"
    (teller.home / whole.name).rename(whole)
    teller.outside("export", "--sync", "platform", "--since", str(whole), "-o", str(new)).require_ok()
    new.rename(teller.home / new.name)
    teller.gateway("import", new.name).require_ok()
    told = teller.client(helm("4"), "show", "chart", "oci://localhost/argo/argo-cd", "--plain-http")
    assert "version: 6.1.0" in told.require_ok()


@contextmanager
def serving(inside: Inside, home: Path) -> Iterator[None]:
    """A gateway inside, on port 80, with what was imported."""
    command = [sys.executable, "-m", "gateway", "serve", "--port", "80", "--admin-port", "off", "--offline"]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [*inside.prefix, *command], cwd=home, env=environment(home), stdin=subprocess.DEVNULL, stderr=log
        )
        try:
            ask = ["curl", "--silent", "--fail", "http://127.0.0.1/readyz"]
            eventually(lambda: inside.run(ask, home).returncode == 0, PATIENCE_SECONDS)
            yield
        finally:
            server.terminate()
            server.wait(PATIENCE_SECONDS)


def main() -> int:
    """Write the story to the file that is named."""
    with tempfile.TemporaryDirectory() as folder:
        story = tell_all(Path(folder))
    Path(sys.argv[1]).write_text("\n".join(["# Across an air-gap, as it was run", *story.lines]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
