"""Kubeconfig files: found, merged and narrowed to one context, as kubectl does it.

`kubernetes.aio` has a merger of its own, which lets the last file choose the current context and
resolves a user's relative paths against the cluster's file; kubectl does neither
(https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/: "the first
file to set a particular value or map key wins"). So files are read here, and its loader gets one
complete cluster and user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from watchbudget.inventory.errors import BadKubeconfig, UnknownContext

__all__ = ["Target", "choose", "default_paths"]

_CLUSTER_PATHS = ("certificate-authority",)
_USER_PATHS = ("client-certificate", "client-key", "tokenFile")


class Target(Struct, frozen=True):
    """One context, resolved: which server, and by which credentials.

    Attributes:
        context: the context's name.
        namespace: its default namespace, None where unset.
        cluster: the kubeconfig's cluster, paths made absolute.
        user: the kubeconfig's user, paths made absolute, the token file read; empty for anonymous.
        directory: where the user's file lies: a plugin's relative command is looked for there.
    """

    context: str
    namespace: str | None
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]
    directory: Path

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self.cluster["server"])


def default_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The kubeconfig files that exist of those kubectl would read: $KUBECONFIG's, else ~/.kube/config."""
    listed = environ.get("KUBECONFIG", "")
    names = [name for name in listed.split(os.pathsep) if name] or ["~/.kube/config"]
    paths = (Path(name).expanduser() for name in names)
    return tuple(path for path in paths if path.exists())


def choose(paths: Sequence[Path], context: str | None) -> Target:
    """Read the files, earlier ones winning, and resolve one context: the named one or the current one.

    Raises:
        BadKubeconfig: a file cannot be read, or what the context needs is missing or malformed.
        UnknownContext: there is no such context, or none is named anywhere; lists those there are.
    """
    documents = [(path, _read(path)) for path in paths]
    files = ", ".join(map(str, paths))
    contexts = _merge(documents, "contexts", "context")
    there_are = f"contexts in {files}: {', '.join(sorted(contexts)) or 'none'}"
    name = context or next(
        (str(doc["current-context"]) for _, doc in documents if doc.get("current-context")), None
    )
    if name is None:
        raise UnknownContext(
            f"no context is chosen: `current-context` is not set; name one with --context; {there_are}"
        )
    if name not in contexts:
        raise UnknownContext(f"there is no context {name!r}; {there_are}")
    home, chosen = contexts[name]

    wanted = chosen.get("cluster")
    clusters = _merge(documents, "clusters", "cluster")
    if wanted not in clusters:
        raise BadKubeconfig(f"{home}: context {name!r} names cluster {wanted!r}, which is in none of {files}")
    cluster = _absolute(*clusters[wanted], _CLUSTER_PATHS)
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise BadKubeconfig(
            f"{clusters[wanted][0]}: cluster {wanted!r}: server is {server!r}, not a URL like https://host:6443"
        )

    wanted = chosen.get("user")
    users = _merge(documents, "users", "user")
    if wanted and wanted not in users:
        raise BadKubeconfig(f"{home}: context {name!r} names user {wanted!r}, which is in none of {files}")
    home, user = users[wanted] if wanted else (home, {})
    namespace = chosen.get("namespace")
    return Target(
        context=name,
        namespace=namespace if isinstance(namespace, str) and namespace else None,
        cluster=cluster,
        user=_credentials(home, _absolute(home, user, _USER_PATHS), str(wanted)),
        directory=home.absolute().parent,
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadKubeconfig(f"{path}: the kubeconfig cannot be read: {error}") from error
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
    ) as error:  # ValueError: a date that is none, 2026-13-45
        raise BadKubeconfig(f"{path}: the kubeconfig is not YAML: {error}") from error
    if document is None:  # an empty file is a valid one to kubectl
        return {}
    if not isinstance(document, dict):
        raise BadKubeconfig(
            f"{path}: this is no kubeconfig: a mapping was expected, not {type(document).__name__}"
        )
    return document


def _merge(
    documents: Sequence[tuple[Path, Mapping[str, Any]]], field: str, inner: str
) -> dict[str, tuple[Path, Mapping[str, Any]]]:
    merged: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for path, document in documents:
        for name, value in _entries(path, document, field, inner):
            merged.setdefault(name, (path, value))
    return merged


def _entries(
    path: Path, document: Mapping[str, Any], field: str, inner: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    entries = document.get(field) or []
    if not isinstance(entries, list):
        raise BadKubeconfig(f"{path}: {field}: a list was expected, not {type(entries).__name__}")
    for index, entry in enumerate(entries):
        value = (entry.get(inner) or {}) if isinstance(entry, dict) else None
        if not isinstance(value, dict) or not isinstance(entry.get("name"), str):
            raise BadKubeconfig(f"{path}: {field}[{index}]: expected a `name` and a mapping `{inner}`")
        yield entry["name"], value


def _absolute(path: Path, value: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    resolved = dict(value)
    for field in fields:
        if resolved.get(field):
            resolved[field] = str(path.absolute().parent / str(resolved[field]))
    return resolved


def _credentials(path: Path, user: dict[str, Any], name: str) -> dict[str, Any]:
    """The user with what the client library gets wrong put right, see the comments."""
    if user.get("as"):  # it would ignore this, and audit as someone else
        raise BadKubeconfig(
            f"{path}: user {name!r}: impersonation (`as`) is not supported; use a context without it"
        )
    token_file = user.pop("tokenFile", None)
    if token_file:  # it would keep the line's end, which no header may hold; the file wins over `token`
        try:
            user["token"] = Path(token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadKubeconfig(f"{path}: user {name!r}: the token file cannot be read: {error}") from error
    provider = user.pop("auth-provider", None)
    if provider:  # it would refresh the login and lose the new refresh token, and with it kubectl's login
        settings = provider.get("config") if isinstance(provider, dict) else None
        token = (
            (settings.get("id-token") or settings.get("access-token")) if isinstance(settings, dict) else None
        )
        if not isinstance(token, str) or not token:
            raise BadKubeconfig(
                f"{path}: user {name!r}: its auth-provider holds no token; log in with kubectl first, "
                "or change the user to a credential plugin (`exec`)"
            )
        user["token"] = token
    return user
