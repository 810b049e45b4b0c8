"""Credential plugins (`exec` in a kubeconfig: EKS, GKE, AKS and many logins).

`kubernetes.aio` runs them too, but only logs a failure and then goes on as nobody, hides a plugin's
prompts and passes no cluster information. The protocol is small: a request in an environment
variable, credentials as JSON on stdout.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watchbudget.inventory.errors import CredentialPluginFailed
from watchbudget.inventory.kubeconfig import Target

__all__ = ["credentials"]

PLUGIN_TIMEOUT = 120.0
"""Seconds for a plugin: kubectl waits forever, but a login in a browser should not take longer."""


async def credentials(target: Target) -> dict[str, str]:
    """Run the context's plugin and return the user entry that stands for its answer.

    Raises:
        CredentialPluginFailed: the program is missing, fails, takes too long or answers nonsense.
    """
    plugin = target.user.get("exec")
    who = f"context {target.context!r} ({target.server})"
    if not isinstance(plugin, dict) or not isinstance(plugin.get("command"), str):
        raise CredentialPluginFailed(f"{who}: the user's `exec` names no command; see `kubectl config view`")
    command = plugin["command"]
    arguments = [str(value) for value in plugin.get("args") or ()]
    environment = _environment(plugin, target)
    found = shutil.which(_located(command, target.directory), path=environment.get("PATH"))
    if found is None:
        hint = str(plugin.get("installHint") or "").strip()
        raise CredentialPluginFailed(
            f"{who}: the credential plugin {command!r} is not installed or not on the PATH"
            + (f": {hint}" if hint else "; install it, or use another context")
        )
    output = await _run(found, arguments, environment, who, interactive=_interactive(plugin))
    who = f"{who}: credential plugin {command!r}"
    return _as_user(_status(output, who), who)


def _located(command: str, directory: Path) -> str:
    """As client-go: a bare name is looked for on the PATH, a relative path beside the kubeconfig."""
    if os.sep not in command:
        return command
    return str(directory / command)


def _environment(plugin: Mapping[str, Any], target: Target) -> dict[str, str]:
    environment = dict(os.environ)
    for entry in plugin.get("env") or ():
        if isinstance(entry, dict) and "name" in entry:
            environment[str(entry["name"])] = str(entry.get("value", ""))
    spec: dict[str, Any] = {"interactive": _interactive(plugin)}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {
            key: value
            for key, value in target.cluster.items()
            if key
            in {
                "server",
                "tls-server-name",
                "insecure-skip-tls-verify",
                "certificate-authority-data",
                "proxy-url",
            }
        }
    info = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(info)
    return environment


def _interactive(plugin: Mapping[str, Any]) -> bool:
    return plugin.get("interactiveMode") != "Never" and sys.stdin is not None and sys.stdin.isatty()


async def _run(
    command: str, arguments: list[str], environment: Mapping[str, str], who: str, *, interactive: bool
) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *arguments,
            env=environment,
            # stderr stays ours: a plugin may show a code to type, or say why it failed
            stdin=None if interactive else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise CredentialPluginFailed(
            f"{who}: the credential plugin {command} cannot be run: {error}"
        ) from error
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PLUGIN_TIMEOUT)
    except TimeoutError as error:
        raise CredentialPluginFailed(
            f"{who}: the credential plugin {command} gave no answer in {PLUGIN_TIMEOUT:.0f} s; "
            "run `kubectl auth whoami` to log in, then try again"
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise CredentialPluginFailed(
            f"{who}: the credential plugin {command} failed with exit code {process.returncode}; "
            "it says why above; try `kubectl auth whoami`"
        )
    return output


def _status(output: bytes, who: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise CredentialPluginFailed(f"{who} printed something else than JSON: {error}") from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict):
        raise CredentialPluginFailed(f"{who} printed no ExecCredential with a `status`")
    return status


def _as_user(status: Mapping[str, Any], who: str) -> dict[str, str]:
    token, certificate, key = (
        status.get(name) for name in ("token", "clientCertificateData", "clientKeyData")
    )
    if isinstance(token, str) and token:
        return {"token": token}
    if isinstance(certificate, str) and isinstance(key, str):
        return {"client-certificate-data": _encode(certificate), "client-key-data": _encode(key)}
    raise CredentialPluginFailed(f"{who} gave neither a token nor a certificate with its key; log in again")


def _encode(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
