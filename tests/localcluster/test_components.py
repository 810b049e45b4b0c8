from collections.abc import Callable
from pathlib import Path

import pytest

from watchbudget.localcluster.components import CONTROLLERS, NAMES, Component, Layout, Ports, components


@pytest.fixture
def build(tmp_path: Path):
    layout = Layout(tmp_path, {name: tmp_path / name for name in NAMES}, Ports(1, 2, 3, 4, 5))

    def made(**changed: object):
        settings = {"controllers": CONTROLLERS, "service_accounts": True, "extra": {}, "environment": {}}
        return components(layout, **(settings | changed))

    return made


def flag(component: Component, name: str):
    values = [each.split("=", 1)[1] for each in component.argv if each.startswith(f"--{name}=")]
    assert len(values) == 1, (component.name, name, values)
    return values[0]


def test_whatever_listens_listens_on_loopback(build: Callable[..., dict[str, Component]]):
    table = build()
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert flag(table[name], "bind-address") == "127.0.0.1"
    for name in ("listen-client-urls", "listen-peer-urls"):
        assert flag(table["etcd"], name).startswith("https://127.0.0.1:")
    # Without these two KWOK does not listen at all; with the second alone it would, on every address.
    assert not any(each.startswith(("--server-address", "--node-port")) for each in table["kwok"].argv)


def test_nothing_turns_verification_or_fairness_off(build: Callable[..., dict[str, Component]]):
    text = " ".join(each for component in build().values() for each in component.argv)
    for forbidden in ("insecure", "priority-and-fairness=false", "anonymous-auth=true", "AlwaysAllow"):
        assert forbidden not in text


def test_etcd_takes_clients_of_its_own_authority_only(build: Callable[..., dict[str, Component]]):
    etcd = build()["etcd"]
    assert "--client-cert-auth" in etcd.argv
    assert flag(etcd, "trusted-ca-file").endswith("etcd-ca.crt")


def test_controllers_have_their_full_names(build: Callable[..., dict[str, Component]]):
    given = flag(build()["kube-controller-manager"], "controllers").split(",")
    assert given == list(CONTROLLERS)
    assert all(name.endswith("-controller") for name in given)


def test_service_accounts_are_turned_off_at_both_ends(build: Callable[..., dict[str, Component]]):
    assert "ServiceAccount" not in flag(build()["kube-apiserver"], "disable-admission-plugins")
    table = build(service_accounts=False)
    assert "ServiceAccount" in flag(table["kube-apiserver"], "disable-admission-plugins").split(",")
    assert "serviceaccount-controller" not in flag(table["kube-controller-manager"], "controllers")


def test_extra_flags_come_last_so_that_they_win(build: Callable[..., dict[str, Component]]):
    table = build(extra={"kube-apiserver": ["--max-requests-inflight=7"]})
    assert table["kube-apiserver"].argv[-1] == "--max-requests-inflight=7"


def test_the_order_is_that_of_starting(build: Callable[..., dict[str, Component]]):
    assert tuple(build()) == NAMES


def test_a_variable_is_for_the_component_it_is_given_to(build: Callable[..., dict[str, Component]]):
    table = build(environment={"kube-apiserver": {"GOMAXPROCS": "8"}})
    given = {name: component.environment for name, component in table.items() if component.environment}
    assert given == {"kube-apiserver": {"GOMAXPROCS": "8"}}
