"""What kustomize makes of base and overlays: what must fit each other, and the code."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import click
import pytest

import watchbudget
from manifests.installation import ACCOUNT, NAME, NAMESPACE, OVERLAYS, built, one, pod_of, rights
from watchbudget.api.crd import crd
from watchbudget.cli.run import command
from watchbudget.controller.serving import CONFIGURATIONS

FOLDERS = [".", *(f"overlays/{name}" for name in OVERLAYS)]
IN_THE_CLUSTER = [".", "overlays/cert-manager", "overlays/host-network", "overlays/prometheus"]
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": NAME}
CLUSTER_SCOPED = re.compile(
    "Namespace|CustomResourceDefinition|Cluster.*|.*AdmissionPolicy.*|FlowSchema|Priority.*|.*WebhookConfiguration"
)


def webhooks(objects: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [
        hook
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for hook in one(objects, kind)["webhooks"]
    ]


def test_all_overlays_are_tested():
    assert set(FOLDERS) == {*IN_THE_CLUSTER, "overlays/development"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_can_be_found_by_its_labels_and_has_its_place(kubectl: Path, folder: str):
    for each in built(kubectl, folder):
        metadata = each["metadata"]
        assert metadata["labels"].items() >= LABELS.items()
        if CLUSTER_SCOPED.fullmatch(each["kind"]):
            assert "namespace" not in metadata
        else:
            assert metadata["namespace"] == NAMESPACE
        assert metadata["name"].startswith(NAME) or each["kind"] == "CustomResourceDefinition"


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_definition_is_the_generated_one(kubectl: Path, folder: str):
    assert one(built(kubectl, folder), "CustomResourceDefinition", "watchbudgets.watchbudget.io") == crd()


@pytest.mark.parametrize("folder", FOLDERS)
def test_webhooks_fail_open_soon_and_get_their_ca_from_the_process(kubectl: Path, folder: str):
    hooks = webhooks(built(kubectl, folder))
    assert [hook["name"] for hook in hooks] == [
        "cap.daemonsets.watchbudget.io",
        "start.pods.watchbudget.io",
        "judge.daemonsets.watchbudget.io",
        "judge-changes.daemonsets.watchbudget.io",
        "clusterrolebindings.watchbudget.io",
    ]
    for hook in hooks:
        assert hook["failurePolicy"] == "Ignore"
        assert hook["timeoutSeconds"] <= 3
        assert hook["sideEffects"] == "None"
        assert "caBundle" not in hook["clientConfig"]


def test_what_is_capped_is_judged(kubectl: Path):
    cap, _, judge, changes, _ = webhooks(built(kubectl, "."))
    (narrower,), (wider,) = cap["matchConditions"], changes["matchConditions"]
    assert "matchConditions" not in judge
    assert narrower["expression"].endswith(f" && (request.operation == 'CREATE' || ({wider['expression']}))")
    for each in (judge, changes):
        assert each["namespaceSelector"] == cap["namespaceSelector"]
        (asked,), (all_asked,) = each.pop("rules"), copy.deepcopy(cap["rules"])
        assert asked.pop("operations") == ["CREATE" if each is judge else "UPDATE"]
        assert all_asked.pop("operations") == ["CREATE", "UPDATE"]
        assert asked == all_asked


def test_the_process_knows_the_webhook_configurations(kubectl: Path):
    kinds = {f"{kind.lower()}s": name for kind, name in names(built(kubectl, "."), "WebhookConfiguration")}
    assert kinds == dict(CONFIGURATIONS)


def names(objects: tuple[dict[str, Any], ...], part: str) -> list[tuple[str, str]]:
    return [(each["kind"], each["metadata"]["name"]) for each in objects if part in each["kind"]]


def test_the_service_leads_to_the_ports(kubectl: Path):
    objects = built(kubectl, ".")
    service = one(objects, "Service")
    ports = {each["name"]: each["containerPort"] for each in pod_of(objects)["containers"][0]["ports"]}
    assert ports == {"webhook": 9443, "probes": 8080}
    assert {each["port"]: ports[each["targetPort"]] for each in service["spec"]["ports"]} == {
        443: 9443,
        8080: 8080,
    }
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    for selector in (
        service["spec"]["selector"],
        one(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in pod_of(objects)["topologySpreadConstraints"]),
    ):
        assert selector.items() <= labels.items()
    for hook in webhooks(objects):
        reference = hook["clientConfig"]["service"]
        assert (reference["namespace"], reference["name"]) == (NAMESPACE, NAME)


@pytest.mark.parametrize("folder", IN_THE_CLUSTER)
def test_the_process_has_the_options_that_it_is_started_with(kubectl: Path, folder: str):
    first, *options = pod_of(built(kubectl, folder))["containers"][0]["args"]
    assert first == "run"
    with command.make_context("run", options) as context:
        assert isinstance(context, click.Context)
        ports = {
            each["name"]: each["containerPort"]
            for each in pod_of(built(kubectl, folder))["containers"][0]["ports"]
        }
        assert ports == {"webhook": context.params["port"], "probes": context.params["probe_port"]}


@pytest.mark.parametrize("folder", IN_THE_CLUSTER)
def test_a_node_is_drained_however_many_replicas_there_are(kubectl: Path, folder: str):
    budget = one(built(kubectl, folder), "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1  # minAvailable would keep the only one where it is
    assert "minAvailable" not in budget


def test_the_image_is_of_this_version(kubectl: Path):
    assert pod_of(built(kubectl, "."))["containers"][0]["image"] == f"watchbudget:{watchbudget.__version__}"


def test_limits_and_queue_are_of_our_account(kubectl: Path):
    """A name that is mistyped there would limit nobody."""
    objects = built(kubectl, ".")
    for kind, name in names(objects, "ValidatingAdmissionPolicy"):
        spec = one(objects, kind, name)["spec"]
        if kind == "ValidatingAdmissionPolicy":
            assert [each["expression"] for each in spec["matchConditions"]] == [
                f"request.userInfo.username == '{ACCOUNT}'"
            ]
            assert spec["failurePolicy"] == "Fail"
        else:
            assert (spec["policyName"], spec["validationActions"]) == (name, ["Deny"])
    subjects = one(objects, "FlowSchema")["spec"]["rules"][0]["subjects"]
    assert subjects == [{"kind": "ServiceAccount", "serviceAccount": {"name": NAME, "namespace": NAMESPACE}}]


def test_development_runs_nothing_in_the_cluster(kubectl: Path):
    objects = built(kubectl, "overlays/development")
    left = {each["kind"] for each in built(kubectl, ".")} - {each["kind"] for each in objects}
    assert left == {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ResourceQuota"}
    addresses = [hook["clientConfig"] for hook in webhooks(objects)]
    paths = [hook["clientConfig"]["service"]["path"] for hook in webhooks(built(kubectl, "."))]
    assert addresses == [{"url": f"https://127.0.0.1:9443{path}"} for path in paths]
    assert set(rights(objects)) == set(rights(built(kubectl, ".")))


def test_with_cert_manager_the_process_needs_fewer_rights(kubectl: Path):
    gone = set(rights(built(kubectl, "."))) - set(rights(built(kubectl, "overlays/cert-manager")))
    assert {resource for _, _, resource, _, _ in gone} == {
        "secrets",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
    }
    assert not [right for right in rights(built(kubectl, "overlays/cert-manager")) if right[2] == "secrets"]


def test_cert_managers_objects_fit_each_other(kubectl: Path):
    objects = built(kubectl, "overlays/cert-manager")
    authority, serving = one(objects, "Certificate", "watchbudget-ca"), one(objects, "Certificate")
    issuer = one(objects, "Issuer", serving["spec"]["issuerRef"]["name"])
    assert authority["spec"]["isCA"] is True
    assert issuer["spec"]["ca"]["secretName"] == authority["spec"]["secretName"]
    assert one(objects, "Issuer", authority["spec"]["issuerRef"]["name"])["spec"] == {"selfSigned": {}}
    assert f"{NAME}.{NAMESPACE}.svc" in serving["spec"]["dnsNames"]  # what API servers ask for
    pod = pod_of(objects)
    (mount,) = pod["containers"][0]["volumeMounts"]
    (volume,) = pod["volumes"]
    assert volume["name"] == mount["name"]
    assert volume["secret"]["secretName"] == serving["spec"]["secretName"]
    assert f"--certificates={mount['mountPath']}" in pod["containers"][0]["args"]
    for kind, _ in names(objects, "WebhookConfiguration"):
        annotations = one(objects, kind)["metadata"]["annotations"]
        assert annotations == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/{serving['metadata']['name']}"}


def test_prometheus_finds_the_metrics(kubectl: Path):
    objects = built(kubectl, "overlays/prometheus")
    monitor, service = one(objects, "ServiceMonitor"), one(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [each["name"] for each in service["spec"]["ports"]]


def test_host_network_loses_nothing_of_the_base(kubectl: Path):
    plain, host = pod_of(built(kubectl, ".")), pod_of(built(kubectl, "overlays/host-network"))
    assert host["hostNetwork"] is True
    strategy = one(built(kubectl, "overlays/host-network"), "Deployment")["spec"]["strategy"]
    # One pod fits on a node: where there are no more nodes than pods, an upgrade begins with one that goes.
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    assert all(each in host["tolerations"] for each in plain["tolerations"])
    assert {each["key"] for each in host["tolerations"]} > {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/network-unavailable",
    }
