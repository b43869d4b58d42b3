"""Pulls, outages, damage, eviction and kills in any order: every answer is one that the model allows."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from gateway.caretaker import collector, scrubber
from gateway.collected import Order
from gateway.oci.digest import Digest
from tests.cache_model import QUIET_SECONDS, REFUSALS, Policy, Repository, Tag
from tests.cache_world import CHARTS, IMAGES, Reply, World
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.images import OCI, Artifact
from tests.fakes.messages import Faults

pytestmark = pytest.mark.slow

_EXAMPLES: Final = int(os.environ.get("CACHE_MACHINE_EXAMPLES", "40"))
_STEPS: Final = 40
_A, _B, _CHART = f"{IMAGES}/a", f"{IMAGES}/b", f"{CHARTS}/demo"
_TAGS: Final = ((_A, "1"), (_A, "latest"), (_B, "1"), (_CHART, "1.0.0"), (_CHART, "1.1.0"))
_SHARED: Final = b"both have this layer" * 5_000
_RULES: Final = {
    "": Policy(),
    "defaults: {drift: follow, deleted: drop, fresh_for: 1m, recheck_for: 1h}": Policy(
        60.0, 3_600.0, follows=True, drops=True
    ),
    "egress: {mode: offline}": Policy(is_offline=True),
}
_FAULTS: Final = (
    Faults(status=500),
    Faults(status=404),
    Faults(status=429, headers={"Retry-After": "7"}),
    Faults(reset=True),
    Faults(truncated=True),
    Faults(wrong_bytes=True),
    Faults(html=True),
    Faults(slow_seconds=0.02),
)
_DAMAGES: Final = ("flip", "truncate", "grow", "remove", "symlink", "folder")

_tags = st.sampled_from(_TAGS)
_seldom = st.sampled_from((True, False, False, False))


class CacheMachine(RuleBasedStateMachine):
    """The gateway as its clients see it, beside the model."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), "")
        self.policy = Policy()
        self.repositories = {
            name: Repository(name == _CHART, {tag: Tag(name == _CHART) for one, tag in _TAGS if one == name})
            for name in (_A, _B, _CHART)
        }
        self.archives: dict[str, bytes] = {}
        self.count = 0
        self.is_honest = True
        self.trouble_at = float("-inf")
        self.is_disk_broken = False
        for where, size in zip(_TAGS, (100, 40_000, 90_000, 0, 0), strict=True):
            self.publish(where, size, is_shared=False, is_hollow=False)
        self.wait(302)

    # What happens upstream

    @rule(where=_tags, size=st.sampled_from((0, 100, 40_000, 90_000)), is_shared=_seldom, is_hollow=_seldom)
    def publish(self, where: tuple[str, str], size: int, *, is_shared: bool, is_hollow: bool) -> None:
        """``is_hollow``: a manifest names a layer that its registry has not, perhaps somebody else's."""
        name, tag = where
        self.count += 1
        if name == _CHART:
            self._publish_chart(tag, make_chart("demo", tag, {"values.yaml": b"%d" % self.count}))
            return
        image = OCI.image(_SHARED if is_shared else size, seed=str(self.count))
        self._publish_image(name, tag, image, [image.blobs[0]] if is_hollow else image.blobs)

    def _publish_image(self, name: str, tag: str, image: Artifact, blobs: Sequence[bytes]) -> None:
        bare = name.partition("/")[2]
        repository = self.repositories[name]
        for blob in blobs:
            repository.blobs[self.world.images.put_blob(bare, blob)] = blob
        digest = self.world.images.push(bare, tag, image.manifest, image.media_type)
        repository.manifests[digest] = image.manifest
        repository.named |= set(map(Digest.of, image.blobs))
        self._changed(repository.tags[tag], digest)

    def _publish_chart(self, tag: str, archive: bytes | None) -> None:
        if archive is None:
            self.archives.pop(tag, None)
        else:
            self.archives[tag] = archive
            self.repositories[_CHART].blobs[Digest.of(archive)] = archive
            self.repositories[_CHART].named.add(Digest.of(archive))
        for path, content in repository_of(*self.archives.values()).items():
            self.world.charts.put(path, content)
        self._changed(self.repositories[_CHART].tags[tag], None if archive is None else Digest.of(archive))

    def _changed(self, tag: Tag, content: Digest | None) -> None:
        tag.publish(content, self.world.clock(), is_asked_just_now=self.world.is_busy())

    @rule(where=_tags)
    def delete(self, where: tuple[str, str]) -> None:
        name, tag = where
        if self.repositories[name].tags[tag].now is None:
            return
        if name == _CHART:
            self._publish_chart(tag, None)
        else:
            self.world.images.delete_tag(name.partition("/")[2], tag)
            self._changed(self.repositories[name].tags[tag], None)

    @rule(faults=st.sampled_from((*_FAULTS, *[Faults()] * 6)))
    def fail_or_recover(self, faults: Faults) -> None:
        self.world.settle()
        self.world.set_faults(faults)
        self.is_honest = faults == Faults(slow_seconds=faults.slow_seconds)
        self.trouble_at = self.world.clock()

    @rule(where=_tags, faults=st.sampled_from(_FAULTS), leaves=_seldom)
    def fail_in_the_middle(self, where: tuple[str, str], faults: Faults, *, leaves: bool) -> None:
        """The manifest comes as it should, and what it names does not."""
        self.fail_or_recover(Faults())
        self.republish_and_wait(where, 302)
        self.pull_tag(where, 1)
        self.fail_or_recover(faults)
        self.pull_whole(where, leaves=leaves)

    @rule(where=_tags, seconds=st.sampled_from((302, 90_000)))
    def republish_and_wait(self, where: tuple[str, str], seconds: int) -> None:
        self.publish(where, 40_000, is_shared=False, is_hollow=False)
        self.wait(seconds)

    # What clients do

    @rule(where=_tags, times=st.sampled_from((1, 1, 1, 5)))
    def pull_tag(self, where: tuple[str, str], times: int) -> None:
        name, tag = where
        held = self.repositories[name].tags[tag]
        self.world.settle()
        is_fresh = held.is_fresh(self.policy, self.world.clock())
        asked_before = self.world.request_count()
        replies = self.world.together([self.world.ask(f"/v2/{name}/manifests/{tag}") for _ in range(times)])
        asked = self.world.request_count() - asked_before
        for reply in replies:
            self._check_tag(name, held, reply)
        assert asked <= _most_asked(replies), (asked, replies[0])
        assert not is_fresh or (asked == 0 and replies[0].cache == "hit"), (asked, replies[0])

    def _check_tag(self, name: str, held: Tag, reply: Reply) -> None:
        assert not reply.is_cut
        may_answer = held.may_answer(self.policy, is_clear=self._is_clear(held))
        if reply.status == 200:
            named = _named(reply.body)
            content = named[1] if held.is_chart else Digest.of(reply.body)
            assert content in may_answer, f"{content} of {may_answer}"
            self.repositories[name].serve(reply.body, named)
            held.manifest = reply.body
            if held.is_chart:
                self.repositories[name].rights |= set(named)
            now = self.world.clock()
            held.answered(content, self.policy, now - int(reply.headers["age"]), now)
            return
        assert reply.status in REFUSALS, reply
        assert not self._must_be_served(held), reply
        if not held.is_held or self.policy.drops:
            held.may_hold.add(None)
        held.refused_at = self.world.clock()

    def _must_be_served(self, held: Tag) -> bool:
        if held.is_held and not self.policy.drops:
            return True
        if self.policy.is_offline or held.now is None:
            return False
        return self._is_clear(held)

    def _is_clear(self, held: Tag) -> bool:
        return self._is_quiet() and held.is_certain(self.world.clock())

    def _is_quiet(self) -> bool:
        return self.is_honest and self.world.clock() > self.trouble_at + QUIET_SECONDS

    @rule(data=st.data())
    def pull_digest(self, data: st.DataObject) -> None:
        """What was served once is served for ever; what was never there is nowhere to be had."""
        name = data.draw(st.sampled_from((_A, _B, _CHART)))
        known = sorted(self._all_manifests())
        digest = data.draw(st.sampled_from(known))
        reply = self.world.get(f"/v2/{name}/manifests/{digest}")
        assert not reply.is_cut
        repository = self.repositories[name]
        if repository.is_chart:  # looked for among its versions, which are kept then
            for held in repository.tags.values():
                held.asked_unseen(self.policy)
        if reply.status == 200:
            assert Digest.of(reply.body) == digest
            assert digest in repository.manifests or digest in repository.served
        else:
            assert reply.status in REFUSALS
            assert digest not in repository.served, reply

    def _all_manifests(self) -> set[Digest]:
        return {digest for one in self.repositories.values() for digest in (*one.manifests, *one.served)}

    @rule(where=_tags, leaves=_seldom)
    def pull_whole(self, where: tuple[str, str], *, leaves: bool) -> None:
        """As clients do: the manifest, and what it names."""
        self.pull_tag(where, 1)
        name, tag = where
        for digest in _named(self.repositories[name].tags[tag].manifest):
            self._pull_blob(name, digest, leaves=leaves, is_part=False)

    @rule(leaves=_seldom)
    def pull_everything(self, *, leaves: bool) -> None:
        for where in _TAGS:
            self.pull_whole(where, leaves=leaves)

    @rule(data=st.data(), leaves=_seldom, is_part=_seldom)
    def pull_blob(self, data: st.DataObject, *, leaves: bool, is_part: bool) -> None:
        """Of this repository, or of another."""
        name, other = (data.draw(st.sampled_from((_A, _B, _CHART))) for _ in range(2))
        known = sorted(self.repositories[other].named | {*self.repositories[other].blobs})
        self._pull_blob(name, data.draw(st.sampled_from(known)), leaves=leaves, is_part=is_part)

    def _pull_blob(self, name: str, digest: Digest, *, leaves: bool, is_part: bool) -> None:
        repository = self.repositories[name]
        must = self._must_have(repository, digest)
        headers = {"range": "bytes=5-11"} if is_part else {}
        path = f"/v2/{name}/blobs/{digest}"
        is_busy, asked_before = self.world.is_busy(), self.world.request_count()
        reply = self.world.get(path, leaves="now" if leaves else "", **headers)
        if digest not in repository.named:
            assert reply.status == 404
            assert is_busy or self.world.request_count() == asked_before
        elif reply.status in {200, 206}:
            self._check_blob(repository, digest, reply, is_whole=not (leaves or is_part))
        else:
            assert reply.status in REFUSALS or (is_part and reply.status == 416), reply
            assert not must or reply.status == 416, reply

    def _must_have(self, repository: Repository, digest: Digest) -> bool:
        is_named = any(str(digest) in manifest.decode() for manifest in repository.served.values())
        if digest in repository.rights and self.world.is_intact(digest):
            return True
        is_there = digest in repository.blobs and not repository.is_chart
        asks = not self.policy.is_offline
        return is_named and is_there and asks and self._is_quiet()

    def _check_blob(self, repository: Repository, digest: Digest, reply: Reply, *, is_whole: bool) -> None:
        """The right bytes and no others; of what is cut short, not the end."""
        content = repository.blobs.get(digest)
        if content is None:  # a config that was made here, of a chart that was served
            assert repository.is_chart
            content = reply.body
            assert reply.status == 206 or reply.is_cut or Digest.of(content) == digest
            return
        wanted = content[5:12] if reply.status == 206 else content
        assert wanted.startswith(reply.body)
        if reply.is_cut:
            assert len(reply.body) < len(wanted)
            assert not is_whole or not self._is_quiet()
        elif is_whole:
            assert reply.body == wanted
            repository.rights.add(digest)

    @rule(name=st.sampled_from((_A, _B, _CHART)))
    def list_tags(self, name: str) -> None:
        reply = self.world.get(f"/v2/{name}/tags/list")
        assert reply.status in {200, *REFUSALS}
        if reply.status == 200:
            assert set(json.loads(reply.body)["tags"]) <= set(self.repositories[name].tags)

    # What happens to the gateway

    @rule(seconds=st.sampled_from((1, 31, 61, 302, 700, 4_000, 90_000)))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule(rules=st.sampled_from((*_RULES, "", "")))
    def swap_rules(self, rules: str) -> None:
        self.world.settle()
        self.world.put_rules(rules)
        self.policy = _RULES[rules]

    @rule(where=_tags, turns=st.integers(0, 12), data=st.data())
    def kill(self, where: tuple[str, str], turns: int, data: st.DataObject) -> None:
        """At any moment of a pull; what was served is served again."""
        self.break_or_mend_disk(is_broken=False)
        name, tag = where
        path = f"/v2/{name}/manifests/{tag}"
        if data.draw(st.booleans()):
            path = f"/v2/{name}/blobs/{data.draw(st.sampled_from(sorted(self.repositories[name].named)))}"
        self.repositories[name].tags[tag].asked_unseen(self.policy)
        self.world.kill(path, turns)
        assert self.world.leftovers() == []

    @rule(number=st.integers(0, 50), damage=st.sampled_from(_DAMAGES))
    def damage(self, number: int, damage: str) -> None:
        self.world.settle()
        files = list(self.world.blob_files())
        if files:
            _spoil(files[number % len(files)], damage)

    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        """In two phases, with whatever happens between them."""
        layers = sorted({digest for one in self.repositories.values() for digest in one.named})
        self.world.gateway.storage.disk.set_aside(data.draw(st.sampled_from(layers)), float("inf"))
        for dying in list(self.world.gateway.storage.disk.dying()):
            if data.draw(st.booleans()):
                self.world.gateway.storage.disk.remove_dying(dying.digest)

    @rule(quota=st.sampled_from((0, 100_000, 500_000)))
    def collect_garbage(self, quota: int) -> None:
        """What is evicted can be had again, as far as upstream says."""
        self.world.settle()
        report = self.world.run(collector(self.world.gateway).collect(_at_once(quota)))
        assert report.fuse is None or not report.swept
        evicted = {blob.digest for blob in report.evicted}
        assert not evicted or not self.policy.is_offline
        for held in self.repositories[_CHART].tags.values():
            gone = evicted & held.former - {tag.now for tag in self.repositories[_CHART].tags.values()}
            assert not gone or not self._is_clear(held), gone

    @rule()
    def scrub(self) -> None:
        """No file is left that is not what it says."""
        if self.is_disk_broken:
            return
        self.world.settle()
        self.world.run(scrubber(self.world.gateway).scrub())
        for path in self.world.blob_files():
            assert Digest.of(path.read_bytes()).hex == path.name

    @rule(is_broken=_seldom)
    def break_or_mend_disk(self, *, is_broken: bool) -> None:
        if is_broken == self.is_disk_broken:
            return
        self.world.settle()
        self.is_disk_broken = is_broken
        if is_broken:
            self.world.break_disk()
        else:
            self.world.mend_disk()
            self.trouble_at = self.world.clock()

    @rule()
    def settle(self) -> None:
        self.world.settle()
        assert self.is_disk_broken or self.world.leftovers() == []

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.break_or_mend_disk(is_broken=False)
            self.world.settle()
            assert self.world.leftovers() == []
            self.world.close()
            self.folder.cleanup()


def _named(manifest: bytes) -> Sequence[Digest]:
    """Config and layers."""
    members = json.loads(manifest or b'{"config": null, "layers": []}')
    return [Digest.parse(one["digest"]) for one in (members["config"], *members["layers"]) if one]


def _at_once(quota: int) -> Order:
    return Order(quota_bytes=quota, grace_seconds=0, wait_seconds=0)


def _most_asked(replies: Sequence[Reply]) -> int:
    """However many ask at once: a look, a fetch, of a chart its parts; each again after a fault."""
    return 0 if all(reply.cache == "hit" and reply.headers["age"] != "0" for reply in replies) else 8


def _spoil(path: Path, damage: str) -> None:
    content = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if content else b"x")
        case "truncate":
            path.write_bytes(content[:-1])
        case "grow":
            path.write_bytes(content + b"x")
        case _:
            path.unlink()
            if damage == "symlink":
                path.symlink_to("/etc/passwd")
            elif damage == "folder":
                path.mkdir()


def test_whatever_happens_in_whatever_order_every_answer_is_one_that_may_be() -> None:
    run_state_machine_as_test(
        CacheMachine,
        settings=settings(
            max_examples=_EXAMPLES,
            stateful_step_count=_STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
