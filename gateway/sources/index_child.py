"""A whole index parsed in a process of its own: it may die of what it reads, and harms nobody."""

import asyncio
import os
import resource
import sys

from gateway.helm.index_plain import plain_index
from gateway.helm.index_whole import BrokenIndex, normalise_index

_MEMORY_BYTES = 4 << 30
_CPU_SECONDS = 60
_WALL_SECONDS = 90.0
_BROKEN = 3
_NORMAL, _PLAIN = "normal", "plain"
_FORMS = {_NORMAL: normalise_index, _PLAIN: plain_index}


async def normalise_in_child(content: bytes, wall_seconds: float = _WALL_SECONDS) -> bytes:
    """Return the index's normal form; raise BrokenIndex for what is no index, or breaks the child."""
    return await _in_child(content, _NORMAL, wall_seconds)


async def plain_in_child(content: bytes, wall_seconds: float = _WALL_SECONDS) -> bytes:
    """Return the index in the style that has an outline; raise BrokenIndex likewise."""
    return await _in_child(content, _PLAIN, wall_seconds)


async def _in_child(content: bytes, form: str, wall_seconds: float) -> bytes:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway.sources.index_child", form),
        cwd="/",  # nothing is imported from where the gateway happens to run
        env={"PYTHONPATH": os.pathsep.join(sys.path)},  # and no secret of ours is there to be read
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(wall_seconds):
            normalised, complaint = await child.communicate(content)
    except TimeoutError as error:
        raise BrokenIndex("the index takes too long to read") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == 0:
        return normalised
    if child.returncode == _BROKEN:
        raise BrokenIndex(complaint.decode(errors="replace"))
    raise BrokenIndex(f"reading the index ended the process that read it ({child.returncode})")


def main() -> int:
    """Read an index from standard input; write it in the form that is asked for, or why there is none."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    try:
        sys.stdout.buffer.write(_FORMS[sys.argv[1]](sys.stdin.buffer.read()))
    except BrokenIndex as error:
        sys.stderr.write(str(error))
        return _BROKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
