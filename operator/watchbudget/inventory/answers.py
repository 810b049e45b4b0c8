"""What a refusal of the API server means, in words that say what to do. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from watchbudget.inventory.errors import (
    ClusterError,
    Expired,
    Forbidden,
    NotFound,
    ServerError,
    Unauthorized,
    UnexpectedAnswer,
)

__all__ = ["permission", "refusal"]

_RESOURCE_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"  # group and version
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"  # only where a resource follows
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?"
)


def permission(method: str, path: str) -> tuple[str, str]:
    """The RBAC permission that a request needs, and a command that makes a ClusterRole of it.

    Example:
        `list daemonsets.apps`, `kubectl create clusterrole NAME --verb=list --resource=daemonsets.apps`
    """
    match = _RESOURCE_PATH.fullmatch(path)
    if match is None:
        verb = method.lower()
        return f"{verb} {path}", f"kubectl create clusterrole NAME --verb={verb} --non-resource-url={path}"
    verb = "create" if method == "POST" else "get" if match["name"] else "list"
    resource = f"{match['resource']}.{match['group']}" if match["group"] else match["resource"]
    return f"{verb} {resource}", f"kubectl create clusterrole NAME --verb={verb} --resource={resource}"


def refusal(server: str, method: str, path: str, status: int, body: bytes) -> ClusterError:
    """The error for an answer of 400 or more.

    Args:
        server: the server and context, as messages name them.
        method: of the request.
        path: of the request, without its query.
        status: HTTP status code.
        body: the answer; a `Status` object where it comes from an API server.
    """
    answer = _status_object(body)
    said = str(answer.get("message") or "").strip() or f"HTTP {status}"
    match status:
        case 401:
            return Unauthorized(
                f"{server} does not accept the credentials ({said}): the token or login has expired, was "
                "revoked or belongs to another cluster. Log in again, check with `kubectl auth whoami`, or "
                "choose another --context"
            )
        case 403:
            needed, command = permission(method, path)
            return Forbidden(
                f"{server} forbids `{needed}`: {said}. To allow it: {command}, and bind it", needed
            )
        case 404:
            return NotFound(f"{server}: {path}: {said}")
        case 410:
            metadata = answer.get("metadata")
            token = metadata.get("continue") if isinstance(metadata, dict) else None
            return Expired(
                f"{server}: the list of {path} kept expiring: {said}",
                token if isinstance(token, str) else None,
            )
        case 429:
            return ServerError(
                f"{server} is overloaded and kept refusing {path} (429: {said}); try again later"
            )
        case _ if status >= 500:
            return ServerError(
                f"{server} cannot answer {path}: {said} (HTTP {status}); see the API server's log"
            )
        case _:
            return UnexpectedAnswer(f"{server} refused {method} {path}: {said} (HTTP {status})")


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}
