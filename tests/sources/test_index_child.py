"""A whole parse happens in a process of its own, which may die of it."""

import asyncio

import psutil
import pytest

from gateway.helm.index_outline import outline
from gateway.helm.index_whole import BrokenIndex, find_in_normalised
from gateway.sources.index_child import normalise_in_child, plain_in_child
from tests.helm.archives import CHART

pytestmark = pytest.mark.slow

INDEX = b"{apiVersion: v1, entries: {demo: [{name: demo, version: 1.0.0}]}}"


@pytest.mark.anyio
async def test_an_index_comes_back_in_its_normal_form() -> None:
    found = find_in_normalised(await normalise_in_child(INDEX), "demo")
    assert found is not None
    assert [entry.version for entry in found.versions] == ["1.0.0"]


@pytest.mark.anyio
async def test_an_index_comes_back_in_a_style_that_has_an_outline() -> None:
    found = outline(await plain_in_child(INDEX))
    assert [item.version for item in found.charts["demo"]] == ["1.0.0"]


@pytest.mark.anyio
async def test_what_is_no_index_comes_back_as_why() -> None:
    with pytest.raises(BrokenIndex, match="no apiVersion"):
        await normalise_in_child(CHART.replace(b"apiVersion", b"other"))


@pytest.mark.anyio
async def test_a_child_that_is_killed_is_a_broken_index_and_harms_nobody() -> None:
    others = _children()  # a database server that tests share may be one
    parsing = asyncio.create_task(normalise_in_child(_endless_work()))
    (await _child(others)).kill()
    with pytest.raises(BrokenIndex, match=r"ended the process that read it \(-9\)"):
        await parsing


@pytest.mark.anyio
async def test_a_child_that_takes_too_long_is_ended() -> None:
    others = _children()
    with pytest.raises(BrokenIndex, match="takes too long"):
        await normalise_in_child(_endless_work(), wall_seconds=0.05)
    assert _children() == others


@pytest.mark.anyio
async def test_a_child_whose_result_nobody_wants_any_more_is_ended() -> None:
    others = _children()
    parsing = asyncio.create_task(normalise_in_child(_endless_work()))
    await _child(others)
    parsing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await parsing
    assert _children() == others


def _endless_work() -> bytes:
    """Seconds of parsing."""
    return INDEX[:-2] + b", x: [" + b"a, " * 2_000_000 + b"]}}"


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children())


async def _child(others: set[psutil.Process]) -> psutil.Process:
    while True:
        for child in _children() - others:
            return child
        await asyncio.sleep(0)
