"""As whom an agent speaks: its service account, a kubeconfig, or nobody."""

from __future__ import annotations

import pytest

from watchbudget.demand.grants import accounts_by_key, identity_of
from watchbudget.demand.model import Identity
from watchbudget.inventory.fleet import Container, DaemonSet, EnvVar, Fleet, ServiceAccount, Volume


def identity(
    *containers: Container,
    volumes: tuple[Volume, ...] = (),
    pod: bool | None = None,
    account: bool | None = None,
) -> Identity:
    daemon_set = DaemonSet("a", "agent", "sa", automount=pod, containers=containers, volumes=volumes)
    return identity_of(
        daemon_set, accounts_by_key(Fleet((), service_accounts=(ServiceAccount("a", "sa", account),)))
    )


def running(*args: str, command: tuple[str, ...] = (), **more: object) -> Container:
    return Container("main", "image", command=command, args=args, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pod", "account", "expected"),
    [
        (None, None, "serviceAccount"),
        (None, True, "serviceAccount"),
        (None, False, "none"),
        (True, False, "serviceAccount"),
        (False, True, "none"),
        (False, None, "none"),
    ],
)
def test_pods_word_about_automounting_goes_before_the_accounts(
    pod: bool | None, account: bool | None, expected: str
):
    assert identity(running(), pod=pod, account=account) == expected


def test_account_that_is_not_in_the_input_automounts():
    assert identity_of(DaemonSet("a", "agent", "sa"), {}) == "serviceAccount"
    assert identity_of(DaemonSet("a", "agent", "sa", automount=False), {}) == "none"


def test_projected_token_takes_the_place_of_the_automounted():
    token = Volume("token", service_account_token=True)
    assert identity(running(), volumes=(token,), pod=False) == "serviceAccount"
    assert identity(running(), volumes=(Volume("config", config_maps=("c",)),), pod=False) == "none"


@pytest.mark.parametrize(
    "args",
    [
        ("--kubeconfig=/etc/k/config",),
        ("--kubeconfig", "/etc/k/config"),
        ("-kubeconfig=/etc/k/config",),
        ("--kube-config=/etc/k/config",),
        ("--kubeConfig=/etc/k/config", "--v=2"),
        ("sh", "-c", "exec agent --kubeconfig='/etc/k/config' --v=2"),
    ],
)
def test_kubeconfig_flags(args: tuple[str, ...]):
    assert identity(running(*args)) == "kubeconfig"
    assert identity(running(command=args)) == "kubeconfig"


@pytest.mark.parametrize(
    "args",
    [
        ("--generate-kubeconfig=/etc/k/config",),  # aws-iam-authenticator writes one for others
        ("--multus-kubeconfig-file-host=/etc/cni/net.d/multus.kubeconfig",),
        ("--kubeconfig=",),
        ("--kubeconfig", "--v=2"),
        ("--kubeconfig=''",),
        ("--kubeconfig-mode=600",),
        ("--out=/var/kubeconfig=x",),
        ("kubeconfig",),
    ],
)
def test_what_only_looks_like_one(args: tuple[str, ...]):
    assert identity(running(*args)) == "serviceAccount"


def test_kubeconfig_in_the_environment():
    assert identity(running(env=(EnvVar("KUBECONFIG", "/etc/k/config"),))) == "kubeconfig"
    assert identity(running(env=(EnvVar("KUBECONFIG", None, "configMap/c/path"),))) == "kubeconfig"
    assert identity(running(env=(EnvVar("KUBECONFIG", ""),))) == "serviceAccount"
    assert identity(running(env=(EnvVar("KUBECONFIG_MODE", "600"),))) == "serviceAccount"


def test_kubeconfig_counts_without_a_token():
    assert identity(running("--kubeconfig=/etc/k/config"), pod=False) == "kubeconfig"


def test_kubeconfig_of_an_init_container_is_not_the_agents():
    assert identity(running(), running("--kubeconfig=/k", init=True)) == "serviceAccount"
    assert identity(running(), running("--kubeconfig=/k", init=True, sidecar=True)) == "kubeconfig"


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (Volume("v", host_path="/var/lib/kubelet"), "kubeconfig"),
        (Volume("v", config_maps=("kube-proxy",)), "kubeconfig"),
        (Volume("v", secrets=("token",)), "kubeconfig"),
        (Volume("v"), "serviceAccount"),  # emptyDir
    ],
)
def test_file_the_pod_writes_itself_is_no_identity_of_its_own(volume: Volume, expected: str):
    mounts = (("v", "/etc/k"), ("other", "/etc/keys"))
    container = running("--kubeconfig=/etc/k/config", mounts=mounts)
    assert identity(container, volumes=(volume, Volume("other", host_path="/x"))) == expected


def test_innermost_mount_decides():
    mounts = (("host", "/"), ("scratch", "/etc/k/"))
    volumes = (Volume("host", host_path="/"), Volume("scratch"))
    container = running("--kubeconfig=/etc/k/config", mounts=mounts)
    assert identity(container, volumes=volumes) == "serviceAccount"


def test_kubeconfig_that_is_mounted_but_not_read_says_nothing():
    # kube-router's kubeadm manifest.
    container = running("--run-router=true", mounts=(("kubeconfig", "/var/lib/kube-router/kubeconfig"),))
    volume = Volume("kubeconfig", host_path="/var/lib/kube-router/kubeconfig")
    assert identity(container, volumes=(volume,)) == "serviceAccount"
