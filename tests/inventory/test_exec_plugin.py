"""Credential plugins, as small shell scripts that behave and misbehave."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from watchbudget.inventory import exec_plugin
from watchbudget.inventory.errors import CredentialPluginFailed
from watchbudget.inventory.kubeconfig import Target


def credential(**status: object) -> str:
    return json.dumps(
        {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    )


def plugin(directory: Path, text: str, name: str = "get-token") -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(directory: Path, command: object, **fields: object) -> dict[str, str]:
    target = Target(
        context="prod",
        namespace=None,
        cluster={"server": "https://c:6443", "certificate-authority-data": "Q0E="},
        user={"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, **fields}},
        directory=directory,
    )
    return asyncio.run(exec_plugin.credentials(target))


def test_a_token_is_used(tmp_path: Path):
    assert run(tmp_path, str(plugin(tmp_path, f"echo '{credential(token='abc')}'"))) == {"token": "abc"}


def test_a_certificate_is_used(tmp_path: Path):
    status = credential(clientCertificateData="CERT", clientKeyData="KEY")
    assert run(tmp_path, str(plugin(tmp_path, f"echo '{status}'"))) == {
        "client-certificate-data": "Q0VSVA==",
        "client-key-data": "S0VZ",
    }


def test_arguments_and_environment_are_passed(tmp_path: Path):
    path = plugin(tmp_path, """printf '{"status": {"token": "%s-%s"}}' "$2" "$REGION" """)
    user = run(tmp_path, str(path), args=["token", "me"], env=[{"name": "REGION", "value": "eu"}])
    assert user == {"token": "me-eu"}


def test_the_plugin_learns_the_cluster_only_where_it_should(tmp_path: Path):
    path = plugin(
        tmp_path, f"echo \"$KUBERNETES_EXEC_INFO\" > {tmp_path}/info; echo '{credential(token='x')}'"
    )
    run(tmp_path, str(path))
    assert "cluster" not in json.loads((tmp_path / "info").read_text())["spec"]
    run(tmp_path, str(path), provideClusterInfo=True)
    info = json.loads((tmp_path / "info").read_text())
    assert info["kind"] == "ExecCredential"
    assert info["apiVersion"] == "client.authentication.k8s.io/v1"
    assert info["spec"] == {
        "interactive": False,
        "cluster": {"server": "https://c:6443", "certificate-authority-data": "Q0E="},
    }


def test_a_bare_name_is_looked_for_on_the_path(tmp_path: Path):
    (tmp_path / "bin").mkdir()
    plugin(tmp_path / "bin", f"echo '{credential(token='x')}'", "my-login")
    path = {"name": "PATH", "value": f"{tmp_path}/bin:/usr/bin:/bin"}
    assert run(tmp_path, "my-login", env=[path]) == {"token": "x"}


def test_a_relative_path_is_looked_for_beside_the_kubeconfig(tmp_path: Path):
    (tmp_path / "bin").mkdir()
    plugin(tmp_path / "bin", f"echo '{credential(token='x')}'", "my-login")
    assert run(tmp_path, "./bin/my-login") == {"token": "x"}


def test_a_missing_plugin_is_said_with_its_install_hint(tmp_path: Path):
    with pytest.raises(CredentialPluginFailed) as caught:
        run(tmp_path, "gke-gcloud-auth-plugin-gone", installHint="Install it with gcloud.")
    text = str(caught.value)
    assert "'gke-gcloud-auth-plugin-gone' is not installed" in text
    assert "Install it with gcloud." in text
    assert "context 'prod' (https://c:6443)" in text


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "failed with exit code 3"),
        ("echo not json", "something else than JSON"),
        ("echo '[]'", "no ExecCredential"),
        ("""echo '{"status": 5}'""", "no ExecCredential"),
        ("""echo '{"status": {}}'""", "neither a token nor a certificate"),
        ("""echo '{"status": {"token": 5}}'""", "neither a token nor a certificate"),
        ("""echo '{"status": {"clientCertificateData": "C"}}'""", "neither a token nor a certificate"),
        ("head -c 2000000 /dev/zero", "something else than JSON"),
    ],
)
def test_a_plugin_that_fails_is_an_error_and_never_an_anonymous_login(tmp_path: Path, script: str, said: str):
    with pytest.raises(CredentialPluginFailed, match=said):
        run(tmp_path, str(plugin(tmp_path, script)))


def test_a_file_that_is_no_program_is_said(tmp_path: Path):
    path = tmp_path / "broken"
    path.write_bytes(b"\x7fELFnot really")
    path.chmod(0o755)
    with pytest.raises(CredentialPluginFailed, match="cannot be run"):
        run(tmp_path, str(path))


@pytest.mark.parametrize("command", [None, 5, ["a"]])
def test_no_command_is_said(tmp_path: Path, command: object):
    with pytest.raises(CredentialPluginFailed, match="names no command"):
        run(tmp_path, command)


def test_a_plugin_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exec_plugin, "PLUGIN_TIMEOUT", 0.3)
    path = plugin(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(CredentialPluginFailed, match="gave no answer"):
        run(tmp_path, str(path))
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
