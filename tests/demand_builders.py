"""Small values of the inventory for the tests of demand: one DaemonSet with one agent, and its fleet."""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, GroupResource
from watchbudget.demand.catalogue import Catalogue, load_catalogue
from watchbudget.demand.join import demands_of
from watchbudget.demand.model import Demand, Grant
from watchbudget.inventory.fleet import ConfigMap, Container, DaemonSet, EnvVar, Fleet, Volume

ALL = tuple(
    Grant(r, ("list", "watch"), "cluster", ("ClusterRoleBinding/a", "ClusterRole/a")) for r in DEFAULT_WATCHED
)


def container(image: str = "example.org/agent:1.0.0", name: str = "agent", **fields: object) -> Container:
    """A container; `env` may be a mapping of names to values."""
    env = fields.pop("env", ())
    if isinstance(env, Mapping):
        env = tuple(EnvVar(key, value) for key, value in env.items())
    return Container(name, image, env=env, **fields)


def daemon_set(*containers: Container, **fields: object) -> DaemonSet:
    """A DaemonSet `logging/agent` with a service account of its own."""
    return DaemonSet("logging", "agent", **{"service_account": "agent", "containers": containers, **fields})


def configured(
    image: str, data: Mapping[str, str] | None = None, name: str = "agent", **fields: object
) -> tuple[DaemonSet, Fleet]:
    """A DaemonSet whose container mounts ConfigMap `config` with the data, and its fleet.

    Without data the ConfigMap is mounted but not among the input.
    """
    one = container(image, name, mounts=(("config", "/etc/agent"),), **fields)
    owner = daemon_set(one, volumes=(Volume("config", config_maps=("config",)),))
    maps = () if data is None else (ConfigMap("logging", "config", data),)
    return owner, Fleet(daemon_sets=(owner,), config_maps=maps)


def demand(
    owner: DaemonSet,
    fleet: Fleet | None = None,
    resource: GroupResource = NAMESPACES,
    *,
    grants: tuple[Grant, ...] = ALL,
    identity: object = "serviceAccount",
    rbac_known: bool = True,
    catalogue: Catalogue | None = None,
    trust_declarations: bool = False,
) -> Demand:
    """The demand for one resource, by default with all grants."""
    demands = demands_of(
        owner,
        fleet or Fleet(daemon_sets=(owner,)),
        grants,
        identity,
        DEFAULT_WATCHED,
        catalogue or load_catalogue(),
        rbac_known=rbac_known,
        trust_declarations=trust_declarations,
    )
    return next(found for found in demands if found.resource == resource)
