"""Is it alive, is it ready: for those who start, watch and replace it."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

NO_STORE = {"Cache-Control": "no-store"}


def health_routes(version: str, is_ready: Callable[[], bool]) -> list[Route]:
    """``/healthz`` answers while the process does; ``/readyz`` is 503 while it starts or stops."""

    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": version}, headers=NO_STORE)

    async def readyz(_request: Request) -> JSONResponse:
        if is_ready():
            return JSONResponse({"status": "ready"}, headers=NO_STORE)
        return JSONResponse({"status": "starting or stopping"}, 503, headers=NO_STORE)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
