"""The Fleet: the immutable snapshot that demand, bill and verdict are computed from.

Both sources, a live cluster and a folder of manifests, make this same value; that is what
makes their verdicts comparable. Byte counts are bytes, not MiB. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from watchbudget.api.resources import GroupResource
from watchbudget.inventory.rbac import Rbac

__all__ = [
    "AccessReviews",
    "Census",
    "ConfigMap",
    "Container",
    "DaemonSet",
    "EnvVar",
    "Fleet",
    "LimitRange",
    "Problem",
    "ResourceCensus",
    "ServiceAccount",
    "Source",
    "UpdateStrategy",
    "Volume",
]


class Source(Struct, frozen=True, order=True):
    """Where an object was read: a file and the document in it (counted from 1), or the cluster."""

    origin: str
    document: int | None = None

    def __str__(self) -> str:
        return f"{self.origin}, document {self.document}" if self.document else self.origin


CLUSTER = Source("cluster")


class Problem(Struct, frozen=True):
    """Something in the input that could not be read or used. Always shown, never dropped.

    An `error` means that the audit is incomplete (exit code 2); a `warning` that a figure
    rests on an assumption.
    """

    source: Source
    message: str
    object: str | None = None  # "DaemonSet logging/vector"
    field: str | None = None  # "spec.template.spec.containers[0].env"
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = ": ".join(part for part in (str(self.source), self.object, self.field) if part)
        return f"{where}: {self.message}"


class EnvVar(Struct, frozen=True):
    """One environment variable; `value` is None when it comes from elsewhere (`value_from`)."""

    name: str
    value: str | None = None
    value_from: str | None = None  # "configMap/NAME/KEY", "secret/NAME/KEY", "field/PATH"


class Container(Struct, frozen=True):
    """A container or init container of the pod template; memory in bytes, None where unset."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[str, ...] = ()  # names of ConfigMaps taken as a whole
    memory_limit: int | None = None
    memory_request: int | None = None
    resource_parts: tuple[str, ...] = ()  # which of limits, requests, claims are set: where a patch must add
    mounts: tuple[tuple[str, str], ...] = ()  # (volume name, mount path)
    init: bool = False
    sidecar: bool = False  # an init container with restartPolicy Always: it runs as long as the pod

    @property
    def long_running(self) -> bool:
        """Whether it runs beside the agent for the pod's life, so that its limit matters."""
        return self.sidecar or not self.init


class Volume(Struct, frozen=True):
    """A volume, as far as configuration or an identity may come from it."""

    name: str
    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    host_path: str | None = None
    service_account_token: bool = False  # a projected token


class UpdateStrategy(Struct, frozen=True):
    """Defaults as the API server fills them in (RollingUpdate, 1, 0); None under OnDelete."""

    type: str = "RollingUpdate"
    max_unavailable: str | None = "1"
    max_surge: str | None = "0"


class DaemonSet(Struct, frozen=True):
    """A DaemonSet, as far as its price depends on it."""

    namespace: str
    name: str
    service_account: str = "default"
    automount: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()  # init containers included, marked
    volumes: tuple[Volume, ...] = ()
    pod_memory_limit: int | None = None  # pod-level resources
    node_selector: tuple[tuple[str, str], ...] = ()
    has_node_affinity: bool = False
    host_network: bool = False
    priority_class: str | None = None
    update_strategy: UpdateStrategy = UpdateStrategy()
    nodes: int | None = None  # desiredNumberScheduled once the controller has counted; else None
    source: Source = CLUSTER

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def title(self) -> str:
        """`DaemonSet namespace/name`, as messages name it."""
        return f"DaemonSet {self.namespace}/{self.name}"


class ServiceAccount(Struct, frozen=True):
    """A service account; `automount` None where unset (the API's default is true)."""

    namespace: str
    name: str
    automount: bool | None = None


class ConfigMap(Struct, frozen=True):
    """A ConfigMap that a DaemonSet may read its configuration from; binary data is left out."""

    namespace: str
    name: str
    data: Mapping[str, str] = field(default_factory=dict)


class LimitRange(Struct, frozen=True):
    """A namespace's LimitRange: the default memory limit of a container, in bytes."""

    namespace: str
    name: str
    default_memory_limit: int | None = None


class ResourceCensus(Struct, frozen=True):
    """How many objects of a watched resource there are and how large they are stored (etcd, bytes)."""

    resource: GroupResource
    objects: int
    stored_bytes: int
    source: Literal["metrics", "page", "flag", "assumed"]
    bytes_assumed: bool = False  # the count was read, the size was not
    read_at: str | None = None  # RFC 3339, the server's Date
    served: bool = True  # False: the server knows no such resource


class Census(Struct, frozen=True):
    """The census of every watched resource, and the server it was read from."""

    resources: tuple[ResourceCensus, ...] = ()
    server_version: tuple[int, int] | None = None  # (1, 36); None offline

    def of(self, resource: GroupResource) -> ResourceCensus | None:
        """The census of one resource, or None where nothing is known of it."""
        return next((entry for entry in self.resources if entry.resource == resource), None)


class AccessReviews(Struct, frozen=True):
    """What the API server's own authorizers answered, by SubjectAccessReview, for the cluster scope.

    `state` says how to read an absent answer: `asked` (all were asked), `forbidden` (we may
    not create SubjectAccessReviews), `offline` (manifests), `partial` (the server went away).
    """

    state: Literal["asked", "forbidden", "offline", "partial"] = "offline"
    allowed: Mapping[tuple[str, str, GroupResource, str], bool] = field(default_factory=dict)
    # (namespace, service account, resource, verb) -> allowed


class Fleet(Struct, frozen=True):
    """Everything a judgement needs, read once."""

    daemon_sets: tuple[DaemonSet, ...]
    rbac: Rbac = Rbac()
    access: AccessReviews = AccessReviews()
    service_accounts: tuple[ServiceAccount, ...] = ()
    config_maps: tuple[ConfigMap, ...] = ()
    limit_ranges: tuple[LimitRange, ...] = ()
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    shared_accounts: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    # (namespace, service account) -> other workloads that use it, "Deployment typha"
    census: Census = Census()
    nodes: int = 0
    nodes_source: Literal["cluster", "flag", "assumed"] = "assumed"
    complete_rbac: bool = False  # live: all that counts was read; manifests may lack roles or bindings
    problems: tuple[Problem, ...] = ()
    budget_documents: tuple[tuple[Source, Mapping[str, object]], ...] = ()  # WatchBudgets found, unparsed
