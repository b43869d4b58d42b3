"""The socket that is listened on, bound once, before anything that may fail later."""

import errno
import socket

BACKLOG = 1024
_MAX_UNSENT_BYTES = 128 * 1024  # of an answer in the kernel, beside what is under way: else megabytes


class BindError(Exception):
    """The address is taken, or not ours."""


def bind(host: str, port: int, flag: str = "--port") -> socket.socket:
    """Listen on an address; port 0 takes a free one. Raise BindError, which names the flag of the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = f" ({flag} takes another, 0 a free one)" if error.errno == errno.EADDRINUSE else ""
        raise BindError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_UNSENT_BYTES)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def local_authority(listener: socket.socket) -> str:
    """The same, for who is on this machine, where it listens on all addresses."""
    host, port = listener.getsockname()[:2]
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "::") else authority(listener)  # noqa: S104 (compared)


def authority(listener: socket.socket) -> str:
    """Host and port as a URL has them."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
