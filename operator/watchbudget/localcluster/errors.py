"""What can go wrong with the local cluster: one base class, so that a caller needs one except clause."""

from __future__ import annotations

__all__ = ["ApiError", "BuildError", "CommandError", "ComponentError", "LocalClusterError", "PortInUseError"]


class LocalClusterError(Exception):
    """Base of every error the local cluster raises on purpose; its text is meant for a person."""


class BuildError(LocalClusterError):
    """The control plane's binaries are neither there nor can they be built."""


class ComponentError(LocalClusterError):
    """A component of the control plane died or did not become healthy in time."""


class PortInUseError(ComponentError):
    """Somebody took a port between our choosing it and the component's binding it; worth another try."""


class CommandError(LocalClusterError):
    """kubectl ended with an exit code other than 0; the text holds its standard error."""


class ApiError(LocalClusterError):
    """The API server answered with an error.

    Attributes:
        status: HTTP status code.
        body: The answer's body, usually a Status object as JSON.
    """

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        """Keep the answer; the message shows the request and the start of the body."""
        super().__init__(f"{method} {path}: {status} {body[:500].decode(errors='replace')}")
        self.status = status
        self.body = body
