"""Distribution, the registry that most others are made of, as a process with a folder of its own."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from gateway.oci.digest import Digest
from gateway.oci.media_types import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_IMAGE_INDEX, OCI_MANIFEST
from tests.e2e.gateway_process import PATIENCE_SECONDS, eventually
from tests.fakes.tokens import Credentials

ACCOUNT = Credentials("robot", "s3cret")
_HTPASSWD = "robot:$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG\n"  # ACCOUNT's, with bcrypt
_KINDS = (OCI_MANIFEST, OCI_IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST)
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")
_SHOWN_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class RealRegistry:
    """A registry that runs; also pushed to by method calls, as the fake one is."""

    port: int
    log_path: Path
    client: httpx.Client

    @property
    def address(self) -> str:
        """As clients write it in a reference."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def push(self, name: str, tag: str | None, manifest: bytes, media_type: str) -> Digest:
        """Publish a manifest, whose blobs must be there, by its digest alone where ``tag`` is None."""
        digest = Digest.of(manifest)
        path = f"/v2/{name}/manifests/{tag or digest}"
        answer = self.client.put(path, content=manifest, headers={"Content-Type": media_type})
        assert answer.status_code == 201, answer.text
        return digest

    def put_blob(self, name: str, content: bytes) -> Digest:
        digest = Digest.of(content)
        place = urlsplit(self.client.post(f"/v2/{name}/blobs/uploads/").headers["location"])
        question = f"{place.query}&" if place.query else ""
        answer = self.client.put(f"{place.path}?{question}digest={digest}", content=content)
        assert answer.status_code == 201, answer.text
        return digest

    def delete(self, name: str, digest: Digest) -> None:
        """Forget a manifest and its tags."""
        answer = self.client.delete(f"/v2/{name}/manifests/{digest}")
        assert answer.status_code == 202, answer.text

    def has(self, name: str, reference: object) -> bool:
        headers = {"Accept": ", ".join(_KINDS)}  # 2.8 gives OCI's kinds only to who names them
        return self.client.head(f"/v2/{name}/manifests/{reference}", headers=headers).status_code == 200

    def count(self, path: str, method: str = "GET") -> int:
        """How many answers to this request its log tells of."""
        wanted = (f"http.request.uri={path} ", f"http.request.method={method} ", "response completed")
        lines = self.log.replace('"', "").splitlines()
        return sum(all(part in line for part in wanted) for line in lines)


@contextmanager
def running_registry(
    program: Path, folder: Path, *, mirrors: str | None = None, has_password: bool = False
) -> Iterator[RealRegistry]:
    """Run ``program`` until the block ends: on a free port, with all it keeps in ``folder``.

    ``mirrors`` is the URL that it is a pull-through cache of; with ``has_password`` only ACCOUNT gets in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(json.dumps(_config(folder, mirrors, has_password=has_password)))
    log_path = folder / "log"
    process = _start(program, config, log_path)
    try:
        port = _port_of(process, log_path)
        authorization = {"Authorization": ACCOUNT.authorization} if has_password else {}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers=authorization,
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        ) as client:
            assert client.get("/v2/").status_code == 200
            yield RealRegistry(port, log_path, client)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _config(folder: Path, mirrors: str | None, *, has_password: bool) -> dict[str, object]:
    """Its YAML, written as the JSON that YAML allows."""
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "of this test"},
    }
    if has_password:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    if mirrors is not None:
        config["proxy"] = {"remoteurl": mirrors}
    return config


def _start(program: Path, config: Path, log_path: Path) -> "subprocess.Popen[bytes]":
    with log_path.open("wb") as log:
        return subprocess.Popen(
            [program, "serve", config],
            cwd=config.parent,
            env={"PATH": os.environ["PATH"], "HOME": str(config.parent), "OTEL_TRACES_EXPORTER": "none"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _port_of(process: "subprocess.Popen[bytes]", log_path: Path) -> int:
    """Wait until its log tells where it listens."""
    eventually(
        lambda: process.poll() is not None or _LISTENING.search(log_path.read_text()) is not None,
        PATIENCE_SECONDS,
    )
    told = log_path.read_text()
    listening = _LISTENING.search(told)
    assert listening is not None, f"the registry did not start:\n{told[-_SHOWN_CHARACTERS:]}"
    return int(listening[1])
