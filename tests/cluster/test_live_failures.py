"""A real API server that cannot be trusted or used, or that stops half-way: what is said, what is left."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from msgspec.structs import replace

from fake_apiserver import async_test, fake_apiserver
from live_cluster import (
    AGENTS,
    audit_rules,
    changed,
    expired_token,
    make_auditor,
    wait_for_counted_daemon_sets,
)
from watchbudget.inventory import errors
from watchbudget.inventory.cluster import load, read_fleet
from watchbudget.inventory.connection import connect
from watchbudget.inventory.fleet import Census, Fleet
from watchbudget.inventory.rbac import Role
from watchbudget.inventory.transport import Api
from watchbudget.localcluster import LocalCluster


@pytest.fixture(scope="module")
def live(control_plane: None) -> Iterator[LocalCluster]:
    with LocalCluster(service_accounts=False) as cluster:
        cluster.add_nodes(3)
        cluster.apply(AGENTS.read_text())
        wait_for_counted_daemon_sets(cluster)
        yield cluster


@pytest.fixture(scope="module")
def auditor(live: LocalCluster) -> Path:
    return make_auditor(live, "auditor", audit_rules())


def with_token(kubeconfig: Path, path: Path, token: str) -> Path:
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(document))
    return path


class TestRefused:
    @pytest.mark.parametrize("token", ["garbage", "a.b.c"])
    def test_a_token_of_nowhere(self, auditor: Path, tmp_path: Path, token: str):
        with pytest.raises(errors.Unauthorized, match=r"127\.0\.0\.1.*\(context local\).*expired") as caught:
            load(str(with_token(auditor, tmp_path / "k", token)))
        assert token not in str(caught.value)

    def test_an_expired_token(self, live: LocalCluster, auditor: Path, tmp_path: Path):
        with pytest.raises(errors.Unauthorized, match=r"Log in again.*kubectl auth whoami"):
            load(str(with_token(auditor, tmp_path / "k", expired_token(live))))
        assert (
            "token has expired" in (live.state_dir / "logs" / "kube-apiserver.log").read_text()
        )  # and not "malformed"


class TestUntrusted:
    def test_another_authority(self, live: LocalCluster, auditor: Path, tmp_path: Path):
        other = changed(
            auditor,
            tmp_path / "k",
            certificate_authority_data=None,
            certificate_authority=str(live.state_dir / "pki" / "etcd-ca.crt"),
        )
        with pytest.raises(errors.UntrustedCertificate) as caught:
            load(str(other))
        text = str(caught.value)
        assert live.url in text
        assert "certificate verify failed" in text
        assert "kubectl config set-cluster NAME --certificate-authority=ca.crt" in text

    def test_no_authority_at_all(self, auditor: Path, tmp_path: Path):
        with pytest.raises(errors.UntrustedCertificate, match="certificate verify failed"):
            load(str(changed(auditor, tmp_path / "k", certificate_authority_data=None)))

    def test_another_host_name(self, auditor: Path, tmp_path: Path):
        other = changed(auditor, tmp_path / "k", tls_server_name="api.example.org")
        with pytest.raises(errors.UntrustedCertificate, match=r"api\.example\.org.*tls-server-name"):
            load(str(other))

    def test_told_to_skip_the_check_it_skips_it(self, auditor: Path, tmp_path: Path):
        other = changed(
            auditor, tmp_path / "k", certificate_authority_data=None, insecure_skip_tls_verify=True
        )
        assert len(load(str(other)).daemon_sets) == 3


class TestChosen:
    def test_an_unknown_context(self, auditor: Path):
        with pytest.raises(errors.UnknownContext, match=r"no context 'prod'; contexts in .*: local"):
            load(str(auditor), "prod")

    def test_several_files_by_the_environment(
        self, auditor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        document = yaml.safe_load(auditor.read_text())
        for name, fields in (("clusters", ["clusters"]), ("rest", ["users", "contexts", "current-context"])):
            (tmp_path / name).write_text(yaml.safe_dump({field: document[field] for field in fields}))
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/gone:{tmp_path}/clusters:{tmp_path}/rest")
        assert len(load().daemon_sets) == 3

    def test_a_credential_plugin(self, live: LocalCluster, auditor: Path, tmp_path: Path):
        token = yaml.safe_load(auditor.read_text())["users"][0]["user"]["token"]
        plugin = tmp_path / "login"
        answer = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token},
        }
        plugin.write_text(f"#!{sys.executable}\nprint({json.dumps(answer)!r})\n")
        plugin.chmod(0o755)
        document = yaml.safe_load(auditor.read_text())
        settings = {"apiVersion": answer["apiVersion"], "command": "./login", "interactiveMode": "Never"}
        document["users"][0]["user"] = {"exec": settings}
        (tmp_path / "k").write_text(yaml.safe_dump(document))
        assert len(load(str(tmp_path / "k")).daemon_sets) == 3


class CuttingProxy:
    """Passes bytes both ways until a number of them has come from the server, then cuts and refuses."""

    def __init__(self, port: int, limit: int) -> None:
        self.port, self.limit, self.passed = port, limit, 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.passed >= self.limit:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers |= {writer, server_writer}
        await asyncio.gather(self._pass(reader, server_writer), self._pass(server_reader, writer, count=True))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        try:
            while data := await reader.read(4096):
                if count:
                    self.passed += len(data)
                if self.passed >= self.limit:
                    for each in self._writers:
                        each.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def server_port(kubeconfig: Path) -> int:
    address: str = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return int(address.rpartition(":")[2])


@asynccontextmanager
async def cut_after(auditor: Path, tmp_path: Path, limit: int) -> AsyncIterator[tuple[Api, CuttingProxy]]:
    proxy = CuttingProxy(server_port(auditor), limit)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubeconfig = changed(auditor, tmp_path / f"cut-{limit}", server=f"https://127.0.0.1:{port}")

    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    async with connect(str(kubeconfig)) as api:
        api._sleep = no_wait
        yield api, proxy
    server.close()


async def attempt(api: Api) -> tuple[Fleet | None, errors.ClusterError | None]:
    try:
        return await read_fleet(api), None
    except errors.ClusterError as error:
        return None, error


def titles(roles: tuple[Role, ...]) -> set[tuple[str | None, str]]:
    return {(role.namespace, role.name) for role in roles}


class TestGoneHalfWay:
    @async_test
    async def test_wherever_it_is_cut_the_rest_is_kept_and_the_gap_told(self, auditor: Path, tmp_path: Path):
        async with cut_after(auditor, tmp_path, 10**9) as (api, proxy):
            whole = await read_fleet(api)
            total = proxy.passed
        assert whole.access.state == "asked"
        raised = partial = 0
        for limit in range(total // 80, total, total // 40):
            async with cut_after(auditor, tmp_path, limit) as (api, _):
                fleet, error = await attempt(api)
            if fleet is None:  # not even the DaemonSets
                assert "127.0.0.1" in str(error)
                raised += 1
                continue
            partial += 1
            assert fleet.daemon_sets == whole.daemon_sets
            told = [problem for problem in fleet.problems if "does not any more" in problem.message]
            assert told, limit
            assert {problem.severity for problem in told} == {"error"}
            assert fleet.access.state == "partial"
            assert set(fleet.access.allowed.items()) <= set(whole.access.allowed.items())
            assert titles(fleet.rbac.roles) <= titles(whole.rbac.roles)
            assert not fleet.complete_rbac or fleet.rbac == whole.rbac
        assert raised >= 1
        assert partial >= 10

    @async_test
    async def test_the_end_of_the_server_itself(self, live: LocalCluster, auditor: Path):
        def stop(stage: str, done: int = 0, total: int | None = None) -> None:
            if stage == "Reading roles and bindings":
                live.stop_component("kube-apiserver")

        async def no_wait(seconds: float) -> None:
            await asyncio.sleep(0)

        try:
            async with connect(str(auditor)) as api:
                api._sleep = no_wait
                fleet = await read_fleet(api, progress=stop)
        finally:
            live.start_component("kube-apiserver")
        assert len(fleet.daemon_sets) == 3
        assert not fleet.complete_rbac
        assert any("answered at first and does not any more" in str(problem) for problem in fleet.problems)


@async_test
async def test_an_overloaded_server_is_waited_for(live: LocalCluster, auditor: Path, tmp_path: Path):
    """Every third request is answered 429, every seventh 503: the fleet is the same."""
    trust = ssl.create_default_context(cafile=live.ca_file)
    count = 0
    async with connect(str(auditor)) as api:
        direct = await read_fleet(api)
        needed = api.requests

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:

        async def forward(request: web.BaseRequest) -> web.Response:
            nonlocal count
            count += 1
            if count % 3 == 0:
                return web.Response(status=429, headers={"Retry-After": "1"})
            if count % 7 == 0:
                return web.Response(status=503)
            headers = {
                name: request.headers[name]
                for name in ("Authorization", "Accept", "Content-Type")
                if name in request.headers
            }
            body = await request.read()
            url = f"{live.url}{request.path_qs}"
            async with session.request(request.method, url, headers=headers, data=body) as answer:
                kept = {
                    name: answer.headers[name] for name in ("Content-Type", "Date") if name in answer.headers
                }
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        async with fake_apiserver(forward) as fake:
            kubeconfig = changed(auditor, tmp_path / "k", server=fake.url)
            async with connect(str(kubeconfig)) as api:
                pauses = []

                async def sleep(seconds: float) -> None:
                    pauses.append(seconds)

                api._sleep = sleep
                proxied = await read_fleet(api)
    assert _comparable(proxied, fake.url) == _comparable(direct, live.url)
    assert api.requests == needed + len(pauses)
    assert len(pauses) > needed / 3
    assert 1.0 in pauses


def _comparable(fleet: Fleet, url: str) -> Fleet:
    entries = tuple(replace(item, read_at=None) for item in fleet.census.resources)
    problems = tuple(replace(item, message=item.message.replace(url, "URL")) for item in fleet.problems)
    return replace(fleet, census=Census(entries, fleet.census.server_version), problems=problems)
