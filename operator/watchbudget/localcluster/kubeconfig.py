"""Kubeconfig files, complete in themselves: the authority and the credentials are embedded."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from watchbudget.localcluster.certs import KeyPair

__all__ = ["write_kubeconfig"]


def write_kubeconfig(
    path: Path,
    *,
    url: str,
    ca_file: Path,
    pair: KeyPair | None = None,
    token: str | None = None,
    user: str = "user",
) -> Path:
    """Write a kubeconfig readable by its owner only, and return its path.

    Args:
        path: Where to.
        url: The API server.
        ca_file: Certificate of the authority that the API server's certificate must come from.
        pair: A client certificate; this or ``token``.
        token: A bearer token.
        user: What the file calls its user; says nothing to the server.
    """
    credentials: dict[str, str] = {}
    if pair is not None:
        credentials["client-certificate-data"] = _embed(pair.certificate)
        credentials["client-key-data"] = _embed(pair.key)
    if token is not None:
        credentials["token"] = token
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "local", "cluster": {"server": url, "certificate-authority-data": _embed(ca_file)}}
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
        "current-context": "local",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _embed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
