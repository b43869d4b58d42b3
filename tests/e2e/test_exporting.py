"""``gateway export`` as people use it: files, volumes, differences, signatures; killed at any moment."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from gateway.bundle_signing import verify
from gateway.bundle_volumes import open_volumes
from tests.e2e.crash_points import TAKES_ALL
from tests.e2e.gateway_process import Site
from tests.e2e.interception import Interception, Killed, Plan, require_interception
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import content_of

pytestmark = pytest.mark.e2e

HOST = "charts.example.test/stable"
_STRIDE = 1 if TAKES_ALL else 17  # of some hundred calls


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that holds three charts of two megabytes each; no upstream is there any more."""
    site = Site(tmp_path_factory.mktemp("site"))
    charts = [
        make_chart("demo", f"{number}.0.0", {"f": content_of(f"{number}", 2 << 20)}) for number in (1, 2, 3)
    ]
    with HelmRepo(repository_of(*charts)) as repo:
        site.point_at({HOST: repo})
        for number in (1, 2, 3):
            site.run("pull", f"{HOST}/demo:{number}.0.0").require_ok()
    return site


def export(site: Site, *arguments: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(site.run("export", *arguments, "--json").require_ok())
    return told


def unpacked(path: Path) -> bytes:
    with open_volumes(path) as stream:
        return stream.read()


def test_a_bundle_is_told_in_words_and_in_facts(house: Site) -> None:
    said = house.run("export", "-o", "told.tar").require_ok().splitlines()
    assert said[0].startswith("Exported: 3 tags of 1 target: 3 manifests and 6 files, 6.3 MB")
    assert said[1:] == ["Wrote:    told.tar"]
    told = export(house, f"{HOST}/demo:1.0.0", "-o", "told.tar")
    assert (told["tags"], told["files"], told["skipped"]) == (1, ["told.tar"], [])


def test_standard_output_volumes_and_compression_have_the_same_bundle(house: Site) -> None:
    export(house, "-o", "whole.tar")
    whole = unpacked(house.folder / "whole.tar")
    told = export(house, "-o", "parts.tar", "--volume-size", "1M")
    files = told["files"]
    assert isinstance(files, list)
    assert len(files) == len(whole) // 2**20 + 1
    assert unpacked(house.folder / "parts.tar") == whole
    with (house.folder / "piped.tar").open("wb") as out:
        command = [sys.executable, "-m", "gateway", "export", "-o", "-"]
        subprocess.run(command, cwd=house.folder, stdout=out, check=True, stderr=subprocess.DEVNULL)
    assert (house.folder / "piped.tar").read_bytes() == whole
    export(house, "-o", "packed.tar.zst")
    zstd = shutil.which("zstd")
    if zstd is not None:
        subprocess.run([zstd, "-dq", "packed.tar.zst"], cwd=house.folder, check=True)
        assert (house.folder / "packed.tar").read_bytes() == whole


def test_a_difference_to_volumes_leaves_out_what_these_have(house: Site) -> None:
    export(house, f"{HOST}/demo:1.0.0", f"{HOST}/demo:2.0.0", "-o", "first.tar.zst", "--volume-size", "1M")
    told = export(house, "-o", "second.tar", "--since", "first.tar.zst.001")
    assert (told["tags"], told["manifests"], told["blobs"]) == (1, 1, 2)
    said = house.run("export", "-o", "third.tar", "--since", "first.tar.zst", "--since", "second.tar")
    assert "There is nothing new in it" in said.require_ok()


def test_a_signature_stands_beside_it_and_none_of_before(house: Site) -> None:
    made = [
        ["genpkey", "-algorithm", "ed25519", "-out", "key.pem"],
        ["pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"],
    ]
    for arguments in made:
        subprocess.run(["openssl", *arguments], cwd=house.folder, check=True)
    told = export(house, "-o", "signed.tar", "--sign-key", "key.pem")
    assert told["files"] == ["signed.tar", "signed.tar.sig"]
    index = subprocess.run(
        ["tar", "xOf", "signed.tar", "index.json"], cwd=house.folder, check=True, capture_output=True
    ).stdout
    signature = (house.folder / "signed.tar.sig").read_text()
    verify((house.folder / "key.pub").read_bytes(), index, signature)
    export(house, "-o", "signed.tar")
    assert not (house.folder / "signed.tar.sig").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere/demo:1"], 1, "no rule matches"),
        ([f"{HOST}/demo:9.0.0"], 1, f"is not held: `gateway pull {HOST}/demo:9.0.0` fetches it"),
        (["--sync", "mine"], 1, "no list called 'mine' has brought anything"),
        (["--list", "none.txt"], 1, "none.txt cannot be read"),
        (["--since", "none.tar"], 1, "--since none.tar: there is no none.tar"),
        (["--since", "rules.yaml"], 1, "--since rules.yaml: "),
        (["--sign-key", "rules.yaml"], 1, "the key cannot be read"),
        (["--sign-key", "none.pem"], 1, "none.pem cannot be read"),
        (["-o", "rules.yaml"], 1, "rules.yaml is there, and is no bundle"),
        (["-o", "none/x.tar"], 1, "none/x.tar cannot be written"),
        (["--volume-size", "10"], 2, "a volume has at least 1M"),
        (["-o", "-", "--volume-size", "1M"], 2, "need a file"),
        (["--sync", "mine", f"{HOST}/demo"], 2, "and not several of them"),
    ],
)
def test_mistakes_are_told_in_words(house: Site, arguments: list[str], code: int, said: str) -> None:
    before = sorted(house.folder.iterdir())
    ran = house.run("export", "-o", "wrong.tar", *arguments)
    assert (ran.code, said in ran.errors) == (code, True), ran.errors
    assert "Traceback" not in ran.errors
    assert sorted(house.folder.iterdir()) == before


@dataclass(frozen=True, slots=True)
class WatchedSite(Site):
    """What runs there asks ``plan`` before each call that changes the folder of its bundles."""

    plan: Plan

    def _start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **(environment or {})}
        return Interception(self.folder / "out", self.plan.judge).start(
            ["gateway", *arguments], self.folder, env
        )


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--volume-size", "1M"], []], ids=["volumes", "one file"])
def test_kill_9_at_any_system_call_leaves_what_was_there_or_all_of_it(house: Site, how: list[str]) -> None:
    require_interception()
    shutil.rmtree(house.folder / "out", ignore_errors=True)
    (house.folder / "out").mkdir()
    command, path = ("export", "-o", "out/x.tar", *how), house.folder / "out" / "x.tar"
    house.run(*command).require_ok()
    made, whole = names_in(path.parent), unpacked(path)
    house.run("export", f"{HOST}/demo:1.0.0", "-o", "out/x.tar", *how).require_ok()
    former = unpacked(path)
    for at in count(random.randint(1, _STRIDE), _STRIDE):
        plan = Plan(Killed(), at, is_armed=True)
        ran = WatchedSite(house.folder, plan).run(*command)
        if path.exists() or path.with_name("x.tar.001").exists():
            assert unpacked(path) in {former, whole}
        if plan.struck is None:
            break
        assert ran.code == -signal.SIGKILL
    assert ran.code == 0, ran.errors
    assert (names_in(path.parent), unpacked(path)) == (made, whole)
    assert plan.count > 20


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
