"""Is it alive, is it ready: for those who start, watch and replace it."""

from collections.abc import Callable, Mapping
from typing import TypedDict

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

NO_STORE = {"Cache-Control": "no-store"}


class RulesTold(TypedDict):
    """Which rules are in force, and what is wrong with newer ones that are not."""

    revision: int
    trouble: str | None


class Told(TypedDict):
    """What there is to say beside being ready; what is wrong with the storage, by its name."""

    rules: RulesTold
    storage: Mapping[str, object]


def health_routes(version: str, is_ready: Callable[[], bool], told: Callable[[], Told]) -> list[Route]:
    """``/healthz`` answers while the process does; ``/readyz`` is 503 while it starts or stops."""

    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": version}, headers=NO_STORE)

    async def readyz(_request: Request) -> JSONResponse:
        if is_ready():
            return JSONResponse({"status": "ready", **told()}, headers=NO_STORE)
        return JSONResponse({"status": "starting or stopping"}, 503, headers=NO_STORE)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
