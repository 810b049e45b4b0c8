"""What can be done with a cluster that runs: everything that needs its address and its keys only."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from watchbudget.localcluster import nodes, seed
from watchbudget.localcluster.client import ApiClient, Response
from watchbudget.localcluster.errors import CommandError, LocalClusterError
from watchbudget.localcluster.kubeconfig import write_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from watchbudget.localcluster.components import Layout

__all__ = ["ClusterAccess"]

HOUR = dt.timedelta(hours=1)


class ClusterAccess:
    """A running cluster seen from outside its processes.

    The administrator whose kubeconfig this gives out may do everything, but is an ordinary client to API
    priority and fairness. Nodes and seeds are written by another identity, which is exempt from it: they are
    the scenery, not the play.
    """

    _layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        """Paths and ports.

        Raises:
            LocalClusterError: The cluster is not started.
        """
        if self._layout is None:
            raise LocalClusterError(
                "The local cluster is not started; use it in a `with` block, or call start()"
            )
        return self._layout

    @property
    def state_dir(self) -> Path:
        """Directory of everything this cluster writes; ``logs/`` holds one file for each component."""
        return self.layout.state

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig("admin")

    @property
    def url(self) -> str:
        """The API server's address, on loopback."""
        return self.layout.url

    @property
    def ca_file(self) -> Path:
        """Certificate of the authority that the API server's certificate comes from."""
        return self.layout.pki / "ca.crt"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object a line, written before each answer is sent."""
        return self.layout.state / "audit.log"

    @cached_property
    def version(self) -> str:
        """The API server's version, such as ``v1.36.3``."""
        return str(self.request("GET", "/version").json()["gitVersion"])

    @cached_property
    def admin(self) -> ApiClient:
        """HTTP client with the administrator's certificate."""
        return ApiClient(self.url, self.ca_file, pair=self.layout.pair("admin"))

    @cached_property
    def _bootstrap(self) -> ApiClient:
        return ApiClient(self.url, self.ca_file, pair=self.layout.pair("bootstrap"))

    def client(self, token: str) -> ApiClient:
        """Return an HTTP client that sends a bearer token."""
        return ApiClient(self.url, self.ca_file, token=token)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Response:
        """Send one request as the administrator; see `ApiClient.request`."""
        return self.admin.request(method, path, body, headers=headers, check=check)

    def metrics(self) -> str:
        """Return the API server's metrics, in the Prometheus text format."""
        return self.request("GET", "/metrics", headers={"Accept": "text/plain"}).body.decode()

    def object_count(self, resource: str, group: str = "") -> int | None:
        """Return how many objects of a resource the metrics tell of; None if they tell nothing of it yet.

        The API server counts every five seconds (``--etcd-count-metric-poll-period``).
        """
        start = f'apiserver_resource_objects{{group="{group}",resource="{resource}"}} '
        for line in self.metrics().splitlines():
            if line.startswith(start):
                return int(float(line.removeprefix(start)))
        return None

    def wait_for_census(self, resource: str, at_least: int, *, group: str = "", timeout: float = 30) -> None:
        """Wait until the metrics count ``at_least`` objects of a resource.

        Args:
            resource: Plural, lower case, such as ``networkpolicies``.
            at_least: How many.
            group: The resource's API group.
            timeout: Seconds.

        Raises:
            LocalClusterError: They count fewer after ``timeout``.
        """
        deadline = time.monotonic() + timeout
        while (count := self.object_count(resource, group) or 0) < at_least:
            if time.monotonic() > deadline:
                raise LocalClusterError(
                    f"The metrics count {count} {resource} after {timeout:.0f} s, not {at_least}"
                )
            time.sleep(0.2)

    def wait_until_counted(self, timeout: float = 60) -> None:
        """Wait until the metrics count as many nodes, namespaces and network policies as there are.

        Each resource is counted by a loop of its own: that one is counted says nothing of another.

        Args:
            timeout: Seconds, for each.

        Raises:
            LocalClusterError: They count fewer after ``timeout``.
        """
        for group, resource in (("", "nodes"), ("", "namespaces"), ("networking.k8s.io", "networkpolicies")):
            prefix = f"/apis/{group}" if group else "/api"
            page = self.request("GET", f"{prefix}/v1/{resource}?limit=1").json()
            there = len(page["items"]) + page["metadata"].get("remainingItemCount", 0)
            self.wait_for_census(resource, there, group=group, timeout=timeout)

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - subprocess.run's own name
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator.

        Args:
            *arguments: What follows ``kubectl``.
            input: Text for its standard input.
            check: Raise when it fails.

        Raises:
            CommandError: It failed, and ``check`` is set.
        """
        argv = [str(self.layout.binaries["kubectl"]), f"--kubeconfig={self.kubeconfig}"]
        argv += [f"--cache-dir={self.state_dir / 'kubectl-cache'}", *arguments]
        env = dict(os.environ) | {"KUBERC": "off"}  # no aliases and defaults of whoever runs us
        done = subprocess.run(argv, input=input, capture_output=True, text=True, check=False, env=env)
        if check and done.returncode != 0:
            raise CommandError(f"kubectl {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done

    def apply(self, manifests: str) -> subprocess.CompletedProcess[str]:
        """Apply YAML or JSON text with ``kubectl apply``; raises as `kubectl` does."""
        return self.kubectl("apply", "-f", "-", input=manifests)

    def token(self, namespace: str, service_account: str, duration: dt.timedelta = HOUR) -> str:
        """Return a token of an existing service account, from the TokenRequest API.

        Args:
            namespace: The account's namespace.
            service_account: The account's name.
            duration: How long it is valid; the server takes ten minutes at least.
        """
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": int(duration.total_seconds())},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return str(self.request("POST", path, asked).json()["status"]["token"])

    def kubeconfig_for(self, namespace: str, service_account: str, duration: dt.timedelta = HOUR) -> Path:
        """Write a kubeconfig with a service account's token, and return its path; see `token`."""
        return write_kubeconfig(
            self.layout.kubeconfig(f"{namespace}.{service_account}"),
            url=self.url,
            ca_file=self.ca_file,
            token=self.token(namespace, service_account, duration),
            user=f"{namespace}/{service_account}",
        )

    def add_nodes(
        self,
        count: int,
        *,
        zones: int = 3,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, Any]] = (),
    ) -> list[str]:
        """Add Ready nodes and return their names; see `nodes.add_nodes`."""
        return nodes.add_nodes(self._bootstrap, count, zones=zones, labels=labels or {}, taints=taints)

    def seed(
        self,
        *,
        namespaces: int,
        network_policies_per_namespace: int = 0,
        bytes_per_namespace: int = 1000,
        bytes_per_network_policy: int = 1000,
        progress: Callable[[int, int], None] | None = None,
    ) -> seed.SeedResult:
        """Fill the cluster with namespaces and network policies; see `seed.SeedPlan` and `seed.seed`.

        The controller manager meanwhile gives each new namespace its default service account, 20 a second,
        and goes on with it after this has returned; ``service_accounts=False`` keeps it quiet.
        """
        plan = seed.SeedPlan(
            namespaces=namespaces,
            network_policies_per_namespace=network_policies_per_namespace,
            bytes_per_namespace=bytes_per_namespace,
            bytes_per_network_policy=bytes_per_network_policy,
        )
        return seed.seed(self._bootstrap, plan, progress or (lambda _done, _total: None))

    def close(self) -> None:
        """Close the HTTP connections kept open; the cluster runs on."""
        for name in ("admin", "_bootstrap"):
            client = self.__dict__.pop(name, None)
            if isinstance(client, ApiClient):
                client.close()
