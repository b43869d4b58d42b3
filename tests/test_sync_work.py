"""A mirror list brought up to date: what is new comes, what is held is not asked for, what fails is named."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.caretaker import pin_desk, selector
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import parse_location
from gateway.store.backups import CopyPlaces
from gateway.store.conditions import Condition
from gateway.store.sync_runs import RunState
from gateway.sync_plan import Kind
from gateway.sync_work import SyncRunning
from tests.composed import HOST
from tests.fakes.charts import make_chart
from tests.fakes.images import OCI, signature_by_tag, signature_of
from tests.pull_house import until
from tests.sources.registry_parts import REGISTRY_HOST
from tests.sync_house import DEMO, IMAGE, Mirror, World, asked, mirror, world

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways, live servers

VALUES = f"image: {{repository: {IMAGE}, tag: v1}}\n".encode()
CHARTS = [make_chart("demo", version) for version in ("1.0.0", "1.1.0", "2.0.0", "2.1.0-rc.1")]
DEMO_ENTRY = f"    charts:\n      - repository: {DEMO}\n"


@pytest.fixture
def upstreams() -> Iterator[World]:
    with world(*CHARTS) as made:
        yield made


@pytest.fixture
async def newest_two(tmp_path: Path, upstreams: World) -> AsyncIterator[Mirror]:
    rules = upstreams.rules(f"{DEMO_ENTRY}        newest: 2\n        older: remove\n")
    async with mirror(tmp_path / "data", rules) as made:
        yield made


async def test_what_is_meant_is_held_afterwards_and_kept(newest_two: Mirror) -> None:
    report = await newest_two.run()
    assert (report.fetched, report.held, report.failed) == (2, 0, 0)
    assert await newest_two.held() == {f"{DEMO}:1.1.0", f"{DEMO}:2.0.0"}
    assert await newest_two.kept() == {f"{DEMO}:1.1.0", f"{DEMO}:2.0.0"}
    run = await newest_two.parts.runs.find("base")
    assert run is not None
    assert (run.state, run.actor, run.next_at) == (RunState.DONE, "me", None)
    assert '"fetched":2' in run.report


async def test_the_catalog_is_copied_after_a_run_that_changed_something(newest_two: Mirror) -> None:
    copy = CopyPlaces(newest_two.at.data_dir.catalog).newest
    await newest_two.run()
    first = copy.stat()
    await newest_two.run()
    assert copy.stat() == first


async def test_of_what_is_held_upstream_is_asked_for_nothing_but_its_index(
    newest_two: Mirror, upstreams: World
) -> None:
    await newest_two.run()
    before = len(upstreams.repo.requests)
    report = await newest_two.run()
    assert (report.fetched, report.held, report.failed) == (0, 2, 0)
    (request,) = upstreams.repo.requests[before:]
    assert request.path == "/index.yaml"
    assert "if-none-match" in request.headers


async def test_a_list_is_asked_for_however_fresh_the_one_that_is_known(
    newest_two: Mirror, upstreams: World
) -> None:
    await newest_two.run()
    upstreams.publish(*CHARTS, make_chart("demo", "3.0.0"))
    assert [item.location for item in (await newest_two.plan()).fetched] == [f"{DEMO}:3.0.0"]
    assert (await newest_two.run()).fetched == 1


async def test_what_a_list_means_no_more_is_forgotten_where_it_says_so(
    newest_two: Mirror, upstreams: World
) -> None:
    await newest_two.run()
    upstreams.publish(*CHARTS, make_chart("demo", "3.0.0"))
    assert (await newest_two.plan()).removals == [f"{DEMO}:1.1.0"]
    assert (await newest_two.run()).removed == 1
    assert await newest_two.held() == await newest_two.kept() == {f"{DEMO}:2.0.0", f"{DEMO}:3.0.0"}


async def test_what_is_pinned_or_kept_by_others_is_never_removed(
    newest_two: Mirror, upstreams: World
) -> None:
    await newest_two.run()
    await pin_desk(newest_two.gateway).pin(parse_location(f"{DEMO}:1.1.0", ()))
    upstreams.publish(*CHARTS, make_chart("demo", "3.0.0"))
    assert (await newest_two.run()).failed == 0
    assert f"{DEMO}:1.1.0" in await newest_two.held()
    assert await newest_two.kept() == {f"{DEMO}:2.0.0", f"{DEMO}:3.0.0"}


async def test_what_a_list_calls_by_another_name_by_now_stays(tmp_path: Path, upstreams: World) -> None:
    def rules(name: str) -> str:
        entry = f"    charts:\n      - {{repository: {name}, newest: 2, older: remove}}\n"
        return upstreams.rules(f"{entry}rules: [{{repository: 'short/*', rewrite: {HOST}/$1}}]\n")

    held = {f"{DEMO}:1.1.0", f"{DEMO}:2.0.0"}
    async with mirror(tmp_path / "data", rules(DEMO)) as made:
        await made.run()
    async with mirror(tmp_path / "data", rules("short/demo")) as made:
        assert (await made.plan()).removals == []
        assert ((report := await made.run()).held, report.removed) == (2, 0)
        upstreams.repo.go_down()
        assert (await made.run()).removed == 0
        assert await made.held() >= held
    upstreams.repo.come_up()
    upstreams.publish(*CHARTS, make_chart("demo", "3.0.0"))
    async with mirror(tmp_path / "data", rules("short/demo")) as made:
        assert (await made.plan()).removals == ["short/demo:1.1.0"]
        assert (await made.run()).removed == 1


async def test_a_list_that_came_empty_removes_nothing(newest_two: Mirror, upstreams: World) -> None:
    await newest_two.run()
    upstreams.publish(make_chart("other", "1.0.0"))
    report = await newest_two.run()
    assert (report.removed, report.failed) == (0, 1)
    upstreams.publish(make_chart("demo", "9.0.0-rc.1"))
    report = await newest_two.run()
    assert report.removed == 0
    assert await newest_two.held() == {f"{DEMO}:1.1.0", f"{DEMO}:2.0.0"}


async def test_one_bad_chart_is_named_and_the_others_arrive(tmp_path: Path, upstreams: World) -> None:
    upstreams.repo.faults_of("demo-1.1.0.tgz").wrong_bytes = True
    async with mirror(tmp_path / "data", upstreams.rules(DEMO_ENTRY)) as made:
        report = await made.run()
        assert (report.fetched, report.failed, report.is_failure) == (3, 1, True)
        assert report.failures[0].what == f"{DEMO}:1.1.0"
        upstreams.repo.faults_of("demo-1.1.0.tgz").wrong_bytes = False
        assert (await made.run()).fetched == 1


async def test_what_fails_once_is_had_at_the_second_try(tmp_path: Path, upstreams: World) -> None:
    upstreams.repo.faults_of("demo-1.1.0.tgz").breaks_at = [10]
    async with mirror(tmp_path / "data", upstreams.rules(DEMO_ENTRY)) as made:
        report = await made.run()
        assert (report.fetched, report.failed) == (4, 0)


async def test_an_upstream_that_is_down_is_a_failure_and_what_is_held_stays(
    newest_two: Mirror, upstreams: World
) -> None:
    await newest_two.run()
    upstreams.repo.go_down()
    report = await newest_two.run()
    assert [failure.what for failure in report.failures] == [DEMO]
    assert await newest_two.held() == {f"{DEMO}:1.1.0", f"{DEMO}:2.0.0"}
    plan = await newest_two.plan()
    assert [failure.what for failure in plan.failures] == [DEMO]


async def test_of_one_list_one_run_goes_on_at_a_time(newest_two: Mirror, upstreams: World) -> None:
    upstreams.repo.faults.silent = True
    first = asyncio.create_task(newest_two.run())
    await asyncio.to_thread(upstreams.repo.wait_for_requests, 1)
    with pytest.raises(SyncRunning):
        await newest_two.run()
    upstreams.repo.faults.silent = False
    upstreams.repo.release()
    assert (await first).fetched == 2


async def test_who_cancels_it_leaves_what_came_and_the_next_run_goes_on(
    newest_two: Mirror, upstreams: World
) -> None:
    upstreams.repo.faults_of("demo-2.0.0.tgz").silent = True
    first = asyncio.create_task(newest_two.run())
    await asyncio.to_thread(upstreams.repo.wait_for_requests, 3)
    await until(partial(_is_any_held, newest_two))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    run = await newest_two.parts.runs.find("base")
    assert run is not None
    assert run.state is RunState.INTERRUPTED
    upstreams.repo.faults_of("demo-2.0.0.tgz").silent = False
    upstreams.repo.release()
    report = await newest_two.run()
    assert report.failed == 0
    assert await newest_two.kept() == {f"{DEMO}:1.1.0", f"{DEMO}:2.0.0"}


async def _is_any_held(mirror: Mirror) -> bool:
    return bool(await mirror.held())


async def test_offline_nothing_is_tried(tmp_path: Path, upstreams: World) -> None:
    async with mirror(tmp_path / "data", upstreams.rules(DEMO_ENTRY), is_offline=lambda: True) as made:
        for trying in (made.run(), made.plan()):
            with pytest.raises(OciError) as caught:
                await trying
            assert caught.value.situation is Situation.NOT_HELD_OFFLINE


async def test_a_glob_means_the_charts_that_there_are(tmp_path: Path, upstreams: World) -> None:
    upstreams.publish(*CHARTS, make_chart("other", "1.0.0"))
    entry = f'    charts:\n      - {{repository: "{HOST}/*", newest: 1}}\n'
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        report = await made.run()
        assert report.fetched == 0
        assert report.remarks == [f"{HOST}/*: no name is known that it could mean"]
        made.names.names = [DEMO, f"{HOST}/other", f"{HOST}/deeper/one", f"{HOST}/gone"]
        report = await made.run()
        assert await made.held() == {f"{DEMO}:2.0.0", f"{HOST}/other:1.0.0"}
        assert report.remarks == [f"{HOST}/gone is gone upstream: what is held of it stays"]
        assert report.failed == 0


async def test_a_glob_of_images_means_names_that_are_held(tmp_path: Path, upstreams: World) -> None:
    OCI.image(100).push_to(upstreams.registry, "team/app", "v1")
    entry = f'    images:\n      - {{repository: "{REGISTRY_HOST}/team/*", newest: 1}}\n'
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        assert (await made.run()).fetched == 0
        assert (await made.at.manifest(IMAGE, "v1")).status_code == 200
        report = await made.run()
        assert (report.fetched, report.remarks) == (
            1,
            [f"{REGISTRY_HOST}/team/*: only names that are held are known; registries tell none"],
        )
        assert await made.kept() == {f"{IMAGE}:v1"}


async def test_a_moving_tag_is_asked_for_again_and_followed(tmp_path: Path, upstreams: World) -> None:
    OCI.image(100, seed="old").push_to(upstreams.registry, "team/app", "latest")
    entry = f"    images:\n      - {{repository: {IMAGE}, tags: [latest]}}\n"
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        await made.run()
        before = len(upstreams.registry.requests)
        assert ((report := await made.run()).fetched, report.held) == (0, 1)
        path = "/v2/team/app"
        assert asked(upstreams.registry, before) == [
            f"GET {path}/tags/list",
            f"HEAD {path}/manifests/latest",
        ]
        new = OCI.image(100, seed="new")
        new.push_to(upstreams.registry, "team/app", "latest")
        assert (await made.run()).fetched == 1
        assert (await made.at.manifest(IMAGE, "latest")).content == new.manifest
        upstreams.registry.delete_tag("team/app", "latest")
        report = await made.run()
        assert (report.held, report.failed) == (1, 0)
        assert await made.held() == {f"{IMAGE}:latest"}


async def test_what_is_dropped_because_upstream_deleted_it_is_not_missed(
    tmp_path: Path, upstreams: World
) -> None:
    for tag in ("v1", "v2"):
        OCI.image(100, seed=tag).push_to(upstreams.registry, "team/app", tag)
    rules = upstreams.rules(f"    images:\n      - {{repository: {IMAGE}, tags: [v*]}}\n")
    rules = rules.replace("fresh_for: 1h", "fresh_for: 0s, deleted: drop")
    async with mirror(tmp_path / "data", rules) as made:
        await made.run()
        upstreams.registry.delete_tag("team/app", "v1")
        assert (await made.at.manifest(IMAGE, "v1")).status_code == 404
        assert (await made.run()).failed == 0
        assert await made.kept() == {f"{IMAGE}:v2"}
        assert [*(await selector(made.gateway).of_list("base")).references] == [f"{IMAGE}:v2"]


async def test_images_come_for_the_platforms_that_are_wanted(tmp_path: Path, upstreams: World) -> None:
    index = OCI.image_index(1000)
    index.push_to(upstreams.registry, "team/app", "v1")
    entry = f"    images:\n      - {{repository: {IMAGE}, newest: 1, platforms: [linux/arm64]}}\n"
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        plan = await made.plan()
        (item,) = plan.items
        arm = index.parts[1]
        assert (item.kind, item.size_bytes) == (Kind.IMAGE, sum(map(len, arm.blobs)))
        assert (await made.run()).size_bytes == item.size_bytes
        assert (await made.plan()).fetched == []


async def test_signatures_come_along_and_go_with_what_they_sign(tmp_path: Path, upstreams: World) -> None:
    image = OCI.image(100)
    image.push_to(upstreams.registry, "team/app", "v1")
    tag, by_tag = signature_by_tag(image)
    by_tag.push_to(upstreams.registry, "team/app", tag)
    signature = signature_of(image)
    signature.push_to(upstreams.registry, "team/app")
    entry = f"    images:\n      - {{repository: {IMAGE}, newest: 1, older: remove, signatures: true}}\n"
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        assert (await made.run()).failed == 0
        signed = {f"{IMAGE}:{tag[:15]}", f"{IMAGE}:{str(signature.digest)[:15]}"}
        assert await made.kept() == {f"{IMAGE}:v1", *signed}
        assert ((report := await made.run()).held, report.fetched, report.removed) == (1, 0, 0)
        assert await made.kept() == {f"{IMAGE}:v1", *signed}
        OCI.image(100, seed="newer").push_to(upstreams.registry, "team/app", "v2")
        assert (await made.run()).failed == 0
        assert await made.kept() == {f"{IMAGE}:v2"}
        assert await made.held() == {f"{IMAGE}:v2"}


async def test_a_chart_brings_what_it_depends_on_and_the_images_it_names(
    tmp_path: Path, upstreams: World
) -> None:
    OCI.image(100).push_to(upstreams.registry, "team/app", "v1")
    depends = [{"name": "base", "version": "^1.0.0", "repository": f"https://{HOST}"}]
    upstreams.publish(
        make_chart("demo", "1.0.0", {"values.yaml": VALUES}, dependencies=depends),
        *(make_chart("base", version) for version in ("1.0.0", "1.2.0", "2.0.0")),
    )
    entry = f"{DEMO_ENTRY}        dependencies: true\n        images: true\n"
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        plan = await made.plan()
        found = {item.location for item in plan.items}
        assert found == {f"{DEMO}:1.0.0", f"{HOST}/base:1.2.0", f"{IMAGE}:v1"}
        assert await made.held() == {f"{DEMO}:1.0.0", f"{HOST}/base:1.2.0"}  # they were read
        assert await made.kept() == set()
        report = await made.run()
        assert report.failed == 0
        assert await made.held() == await made.kept() == found


async def test_a_circle_of_dependencies_ends(tmp_path: Path, upstreams: World) -> None:
    def of(name: str, needed: str) -> bytes:
        return make_chart(
            name,
            "1.0.0",
            dependencies=[{"name": needed, "version": "1.0.0", "repository": f"https://{HOST}"}],
        )

    upstreams.publish(of("demo", "other"), of("other", "demo"))
    entry = f"{DEMO_ENTRY}        dependencies: true\n"
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        assert ((report := await made.run()).fetched, report.failed) == (2, 0)


async def test_a_dependency_that_cannot_be_had_is_told_of_its_chart(tmp_path: Path, upstreams: World) -> None:
    depends = [{"name": "demo", "version": ">=7", "repository": f"https://{HOST}"}]
    upstreams.publish(CHARTS[0], make_chart("parent", "1.0.0", dependencies=depends))
    entry = f"    charts:\n      - {{repository: {HOST}/parent, dependencies: true}}\n"
    async with mirror(tmp_path / "data", upstreams.rules(entry)) as made:
        report = await made.run()
        assert [failure.what for failure in report.failures] == [f"{HOST}/parent:1.0.0"]
        assert "no version is in its range" in report.failures[0].reason
        assert await made.kept() == {f"{HOST}/parent:1.0.0"}


async def test_an_image_that_a_chart_names_and_nobody_has_is_named(tmp_path: Path, upstreams: World) -> None:
    upstreams.publish(make_chart("demo", "1.0.0", {"values.yaml": VALUES}))
    async with mirror(tmp_path / "data", upstreams.rules(f"{DEMO_ENTRY}        images: true\n")) as made:
        report = await made.run()
        (failure,) = report.failures
        assert failure.what.startswith(f"{IMAGE}:v1 (for {DEMO}:1.0.0")
        assert report.fetched == 1


async def test_an_image_whose_tag_was_a_guess_is_no_failure(tmp_path: Path, upstreams: World) -> None:
    values = f"image: {{repository: {IMAGE}, tag: ''}}\n".encode()
    template = b'{{ default (printf "v%s" .Chart.AppVersion) .Values.x }}'
    files = {"values.yaml": values, "templates/a.yaml": template}
    upstreams.publish(make_chart("demo", "1.0.0", files, appVersion="9"))
    async with mirror(tmp_path / "data", upstreams.rules(f"{DEMO_ENTRY}        images: true\n")) as made:
        plan = await made.plan()
        assert ([item.location for item in plan.items], plan.failures) == ([f"{DEMO}:1.0.0"], [])
        report = await made.run()
        assert (report.held, report.failed) == (1, 0)
        for told in (plan, report):
            assert told.remarks[0].startswith(f"{IMAGE}:v9 is not there: a guess")


async def test_where_nothing_is_kept_any_more_the_run_ends_and_says_so(
    newest_two: Mirror, upstreams: World
) -> None:
    newest_two.gateway.storage.conditions.begin(Condition.DISK_FULL, "a test")
    report = await newest_two.run()
    assert [failure.what for failure in report.failures] == ["the rest"]
    assert "disk is full" in report.failures[0].reason
    run = await newest_two.parts.runs.find("base")
    assert run is not None
    assert run.state is RunState.FAILED
    newest_two.gateway.storage.conditions.end(Condition.DISK_FULL)
    assert (await newest_two.run()).failed == 0
    newest_two.gateway.storage.conditions.begin(Condition.DISK_FULL, "a test")
    assert (await newest_two.run()).held == 2  # nothing has to be kept
