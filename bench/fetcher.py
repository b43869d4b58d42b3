"""httpx alone, in a fresh process: fetch URLs one after another, and say how long it took.

Twice: over fresh connections, and over those that are open then.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Sequence

import httpx
import uvloop


async def main(trusted: str, urls: Sequence[str]) -> None:
    context = ssl.create_default_context(cafile=trusted)
    async with httpx.AsyncClient(verify=context, headers={"Accept-Encoding": "identity"}) as client:
        seconds = [await _fetch_all(client, urls) for _ in range(2)]
    print(json.dumps(seconds))


async def _fetch_all(client: httpx.AsyncClient, urls: Sequence[str]) -> float:
    started = time.perf_counter()
    for url in urls:
        async with client.stream("GET", url) as response:
            response.raise_for_status()
            async for _ in response.aiter_raw():
                pass
    return time.perf_counter() - started


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2:]))
