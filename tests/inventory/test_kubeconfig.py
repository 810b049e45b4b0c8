"""Kubeconfig files as people have them: several, relative, incomplete, wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from watchbudget.inventory.connection import connect
from watchbudget.inventory.errors import BadKubeconfig, UnknownContext
from watchbudget.inventory.kubeconfig import choose, default_paths

GOOD = {
    "clusters": [{"name": "c", "cluster": {"server": "https://c:6443"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
    "current-context": "x",
}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_a_context_is_resolved(tmp_path: Path):
    target = choose([write(tmp_path / "k", GOOD)], None)
    assert (target.context, target.server, target.namespace) == ("x", "https://c:6443", "ns")
    assert target.user == {"token": "t"}


def test_the_first_file_that_says_something_wins(tmp_path: Path):
    second = {
        "clusters": [
            {"name": "c", "cluster": {"server": "https://other"}},
            {"name": "d", "cluster": {"server": "https://d"}},
        ],
        "contexts": [{"name": "y", "context": {"cluster": "d", "user": "u"}}],
        "current-context": "y",
    }
    paths = [write(tmp_path / "1", GOOD), write(tmp_path / "2", second)]
    assert choose(paths, None).server == "https://c:6443"
    assert choose(paths, "y").server == "https://d"  # context of the second, user of the first
    assert choose(paths, "y").user == {"token": "t"}
    assert choose(paths[::-1], None).server == "https://d"
    assert choose(paths[::-1], "x").server == "https://other"


def test_an_empty_file_among_them_does_no_harm(tmp_path: Path):
    assert choose([write(tmp_path / "0", ""), write(tmp_path / "1", GOOD)], None).context == "x"


def test_relative_paths_belong_to_the_file_they_stand_in(tmp_path: Path):
    clusters = {
        "clusters": [{"name": "c", "cluster": {"server": "https://c", "certificate-authority": "ca.crt"}}]
    }
    users = {
        "users": [{"name": "u", "user": {"client-certificate": "me.crt", "client-key": "/abs/me.key"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    target = choose([write(tmp_path / "a" / "k", clusters), write(tmp_path / "b" / "k", users)], "x")
    assert target.cluster["certificate-authority"] == str(tmp_path / "a" / "ca.crt")
    assert target.user["client-certificate"] == str(tmp_path / "b" / "me.crt")
    assert target.user["client-key"] == "/abs/me.key"


def test_a_token_file_is_read_without_its_line_end_and_wins(tmp_path: Path):
    write(tmp_path / "token", "secret\n")
    user = {"name": "u", "user": {"token": "old", "tokenFile": "token"}}
    assert choose([write(tmp_path / "k", GOOD | {"users": [user]})], None).user == {"token": "secret"}


@pytest.mark.parametrize("name", ["id-token", "access-token"])
def test_the_token_of_an_auth_provider_is_used_as_it_is(tmp_path: Path, name: str):
    provider = {"name": "oidc", "config": {name: "jwt", "refresh-token": "never sent"}}
    user = {"name": "u", "user": {"auth-provider": provider}}
    assert choose([write(tmp_path / "k", GOOD | {"users": [user]})], None).user == {"token": "jwt"}


def test_a_context_without_a_user_is_anonymous(tmp_path: Path):
    context = {"name": "x", "context": {"cluster": "c"}}
    path = write(tmp_path / "k", GOOD | {"contexts": [context]})
    assert choose([path], None).user == {}

    async def open_it() -> str:
        async with connect(str(path)) as api:
            return api.server

    assert asyncio.run(open_it()) == "https://c:6443 (context x)"


def test_an_unknown_context_lists_those_there_are(tmp_path: Path):
    other = {"contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}]}
    paths = [write(tmp_path / "1", GOOD), write(tmp_path / "2", other)]
    with pytest.raises(UnknownContext, match=r"no context 'staging'; contexts in .*1, .*2: prod, x"):
        choose(paths, "staging")


def test_no_current_context_lists_those_there_are(tmp_path: Path):
    with pytest.raises(UnknownContext, match=r"current-context.*--context.*: x"):
        choose([write(tmp_path / "k", GOOD | {"current-context": ""})], None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("[1, 2]", "a mapping was expected, not list"),
        ("{", "not YAML"),
        ("a: *nothing", "not YAML"),
        ("when: 2026-13-45", "not YAML"),
        ({"clusters": {}, "contexts": {"x": 1}}, "contexts: a list was expected, not dict"),
        ({"contexts": ["x"]}, r"contexts\[0\]: expected a `name`"),
        ({"contexts": [{"name": "x", "context": 5}]}, r"contexts\[0\]: expected a `name`"),
        ({"contexts": [{"name": "x", "context": {"cluster": "nope"}}]}, "names cluster 'nope'"),
        ({"contexts": [{"name": "x", "context": {"cluster": "c", "user": "nope"}}]}, "names user 'nope'"),
        ({"contexts": [{"name": "x"}]}, "names cluster None"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "server is None, not a URL"),
        ({"clusters": [{"name": "c", "cluster": {"server": "c:6443"}}]}, "server is 'c:6443', not a URL"),
        ({"users": [{"name": 7, "user": {}}]}, r"users\[0\]: expected a `name`"),
        ({"users": [{"name": "u", "user": {"as": "root"}}]}, "impersonation"),
        ({"users": [{"name": "u", "user": {"tokenFile": "gone"}}]}, "token file cannot be read"),
        ({"users": [{"name": "u", "user": {"auth-provider": {"name": "gcp"}}}]}, "holds no token"),
        ({"users": [{"name": "u", "user": {"auth-provider": "gcp"}}]}, "holds no token"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_place(tmp_path: Path, change: object, said: str):
    path = write(tmp_path / "k", GOOD | change if isinstance(change, dict) else change)
    with pytest.raises(BadKubeconfig, match=said) as caught:
        choose([path], None)
    assert str(path) in str(caught.value)


def test_a_binary_file_is_said_to_be_unreadable(tmp_path: Path):
    (tmp_path / "k").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadKubeconfig, match="cannot be read"):
        choose([tmp_path / "k"], None)


@pytest.mark.parametrize(
    "cluster",
    [
        {"certificate-authority": "gone.crt"},
        {"certificate-authority-data": "not base64"},
        {"certificate-authority-data": "Tk9UIEEgQ0VSVElGSUNBVEU="},
        {"certificate-authority-data": 7},
    ],
)
def test_an_unusable_authority_is_said(tmp_path: Path, cluster: dict[str, object]):
    entry = {"name": "c", "cluster": {"server": "https://c:6443"} | cluster}
    path = write(tmp_path / "k", GOOD | {"clusters": [entry]})

    async def open_it() -> None:
        async with connect(str(path)):
            pytest.fail("it was accepted")

    with pytest.raises(BadKubeconfig, match="https://c:6443"):
        asyncio.run(open_it())


class TestDefaultPaths:
    def test_those_of_the_variable_that_exist(self, tmp_path: Path):
        for name in "ab":
            write(tmp_path / name, GOOD)
        variable = f"{tmp_path / 'b'}::{tmp_path / 'gone'}:{tmp_path / 'a'}"
        assert default_paths({"KUBECONFIG": variable}) == (tmp_path / "b", tmp_path / "a")

    def test_else_the_one_at_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert default_paths({}) == ()
        write(tmp_path / ".kube" / "config", GOOD)
        assert default_paths({"KUBECONFIG": ""}) == (tmp_path / ".kube" / "config",)


class TestNoKubeconfig:
    @pytest.fixture(autouse=True)
    def _nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "gone"))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    @staticmethod
    def open_it(context: str | None = None) -> None:
        async def main() -> None:
            async with connect(context=context):
                pytest.fail("there is nothing to connect to")

        asyncio.run(main())

    def test_says_where_it_looked(self, tmp_path: Path):
        with pytest.raises(BadKubeconfig, match=rf"no kubeconfig: looked at {tmp_path}/gone.*--kubeconfig"):
            self.open_it()

    def test_a_named_one_must_exist(self, tmp_path: Path):
        async def main() -> None:
            async with connect(str(tmp_path / "named")):
                pytest.fail("it does not exist")

        with pytest.raises(BadKubeconfig, match="named: the kubeconfig cannot be read"):
            asyncio.run(main())

    def test_in_a_pod_without_a_token(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        with pytest.raises(BadKubeconfig, match="inside a pod"):
            self.open_it()

    def test_in_a_pod_there_are_no_contexts(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        with pytest.raises(UnknownContext, match="only the pod's own service account"):
            self.open_it("prod")
