"""The composition: rules as they lie there, and an application that is ready while it runs."""

import os
from collections.abc import MutableMapping
from pathlib import Path

import anyio
import pytest

from gateway.app import compose, create_app, rule_desk, version
from gateway.oci.urls import HttpUrl
from gateway.rule_revisions import InForce, RulesFileError
from gateway.rules.load import load_rules
from gateway.rules.model import EgressMode, RuleSet
from gateway.rules.problems import RulesError
from gateway.settings import Settings, load_settings
from gateway.store.data_dir import DataDir
from tests.web.live import App, ask_app

pytestmark = pytest.mark.slow  # real files, sockets and processes

RULES = """\
version: 1
egress: {mode: allowlist}
upstreams:
  charts.corp.example:
    username_env: GATEWAY_SECRET_USER
    password_file: password
"""


def read_rules(settings: Settings) -> RuleSet:
    """As a first start reads them."""
    data_dir = DataDir(settings.data_dir)
    data_dir.prepare()
    desk = rule_desk(settings, data_dir)
    try:
        return desk.start().rule_set
    finally:
        desk.engines.dispose()
        data_dir.close()


def settings_of(folder: Path, rules: str | None = None, **environment: str) -> Settings:
    """Settings that name a rules file in ``folder``, which holds ``rules``."""
    path = folder / "rules.yaml"
    if rules is not None:
        path.write_text(rules)
    given = {"GATEWAY_RULES": str(path), "GATEWAY_DATA_DIR": str(folder / "data")}
    return load_settings({**given, **environment}, {}, Path.read_text)


def test_no_file_at_the_default_place_means_no_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_rules(Settings()) == RuleSet()


def test_a_named_file_that_is_absent_is_an_error_also_at_the_default_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("elsewhere.yaml", "rules.yaml"):
        settings = load_settings({"GATEWAY_RULES": place}, {}, Path.read_text)
        with pytest.raises(RulesFileError, match=rf"no rules file {place} \(setting RULES\)"):
            read_rules(settings)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").mkdir()
    with pytest.raises(RulesFileError, match=r"rules.yaml cannot be read: Is a directory"):
        read_rules(settings_of(tmp_path))


def test_rules_are_read_with_the_secrets_they_name(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("S3CR3T")
    settings = settings_of(tmp_path, RULES, GATEWAY_SECRET_USER="user", GATEWAY_SECRETS_DIR=str(tmp_path))
    rule_set = read_rules(settings)
    assert rule_set.egress.mode is EgressMode.ALLOWLIST
    assert list(rule_set.upstreams) == ["charts.corp.example"]


def test_a_mistake_in_the_rules_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"rules.yaml:2:1: egres: unknown key \(did you mean egress\?\)"):
        read_rules(settings_of(tmp_path, "version: 1\negres: {}\n"))


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"GATEWAY_SECRET_USER": "user"}, "GATEWAY_SECRETS_DIR is not set"),
        ({"GATEWAY_SECRET_USER": "user", "GATEWAY_SECRETS_DIR": "/nowhere"}, "/nowhere/password"),
        ({"GATEWAY_SECRETS_DIR": "."}, "GATEWAY_SECRET_USER is not set"),
    ],
)
def test_a_secret_that_is_not_to_be_had_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    (tmp_path / "password").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RulesError, match=named) as caught:
        read_rules(settings_of(tmp_path, RULES, **environment))
    assert "charts.corp.example" in str(caught.value)


def test_the_version_is_that_of_the_distribution() -> None:
    assert version().count(".") == 2


class Lifespan:
    """Starts an application and stops it, as a server does."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._to_app, self._from_test = anyio.create_memory_object_stream[str](2)
        self._from_app, self._to_test = anyio.create_memory_object_stream[object](2)

    async def run(self) -> None:
        async def receive() -> MutableMapping[str, object]:
            return {"type": await self._from_test.receive()}

        async def send(message: MutableMapping[str, object]) -> None:
            await self._from_app.send(message["type"])

        async with self._to_app, self._from_test, self._from_app, self._to_test:
            await self._app({"type": "lifespan"}, receive, send)

    async def tell(self, word: str) -> None:
        await self._to_app.send(f"lifespan.{word}")
        assert await self._to_test.receive() == f"lifespan.{word}.complete"


@pytest.mark.anyio
async def test_it_is_ready_between_its_start_and_its_stop(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    app = create_app(compose(Settings(data_dir=tmp_path), data_dir, InForce(RuleSet())))
    lifespan = Lifespan(app)
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.run)
        assert (await ask_app(app, "GET", b"/readyz")).status == 503
        await lifespan.tell("startup")
        assert (await ask_app(app, "GET", b"/readyz")).status == 200
        assert (await ask_app(app, "GET", b"/v2/")).status == 200
        await lifespan.tell("shutdown")
    assert (await ask_app(app, "GET", b"/readyz")).status == 503
    assert (await ask_app(app, "GET", b"/healthz")).status == 200
    data_dir.close()


@pytest.mark.anyio
async def test_it_is_not_ready_from_the_moment_it_is_told_to_stop(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    stop = anyio.Event()
    app = create_app(
        compose(Settings(data_dir=tmp_path), data_dir, InForce(RuleSet())), is_stopping=stop.is_set
    )
    lifespan = Lifespan(app)
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.run)
        await lifespan.tell("startup")
        assert (await ask_app(app, "GET", b"/readyz")).status == 200
        stop.set()
        assert (await ask_app(app, "GET", b"/readyz")).status == 503
        await lifespan.tell("shutdown")
    data_dir.close()


@pytest.mark.anyio
async def test_closed_it_keeps_no_file_open(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    gateway = compose(Settings(data_dir=tmp_path), data_dir, InForce(RuleSet()))
    await gateway.close()
    data_dir.close()
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert not [path for path in held if path.startswith(str(tmp_path))]


def _is_open(fd: str) -> bool:
    """The listing itself had one that is closed again."""
    return Path(f"/proc/self/fd/{fd}").is_symlink()


@pytest.mark.anyio
async def test_its_own_hosts_are_where_it_listens_and_what_it_is_reached_by(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    url = HttpUrl("https", "charts.example.test", 8443)
    gateway = compose(Settings(data_dir=tmp_path, port=9000, public_url=url), data_dir, InForce(RuleSet()))
    assert gateway.own_hosts == {"127.0.0.1:9000", "charts.example.test:8443"}
    await gateway.close()
    sixth = compose(Settings(data_dir=tmp_path, host="::1", port=9000), data_dir, InForce(RuleSet()))
    assert sixth.own_hosts == {"[::1]:9000"}
    await sixth.close()
    data_dir.close()


@pytest.mark.anyio
@pytest.mark.parametrize("is_offline_by", ["setting", "rules"])
async def test_offline_by_setting_or_by_rules_nobody_is_dialled(tmp_path: Path, is_offline_by: str) -> None:
    async def resolver(host: str, _port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    rules = tmp_path / "rules.yaml"
    rules.write_text(f"version: 1\negress: {{mode: {'offline' if is_offline_by == 'rules' else 'public'}}}\n")
    settings = Settings(data_dir=tmp_path, rules=rules, offline=is_offline_by == "setting")
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    gateway = compose(settings, data_dir, InForce(load_rules(rules.read_bytes())), resolver=resolver)
    app = create_app(gateway)
    for target in (b"/v2/charts.jetstack.io/cert-manager/manifests/1.0.0", b"/v2/a.example/b/tags/list"):
        assert (await ask_app(app, "GET", target)).status == 404
    await gateway.close()
    data_dir.close()
