"""Agents whose configuration decides: the same image, told differently, gets another answer."""

from __future__ import annotations

import pytest

from demand_builders import configured, container, daemon_set, demand
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.demand.model import Watches
from watchbudget.inventory.fleet import ConfigMap, DaemonSet, EnvVar, Fleet

YES, NO, DEPENDS = Watches.YES, Watches.NO, Watches.DEPENDS


def _env(
    image: str, env: object = (), resource: GroupResource = NAMESPACES, name: str = "agent", **fields: object
) -> Watches:
    return demand(daemon_set(container(image, name, env=env, **fields)), resource=resource).watches


KDD = {"DATASTORE_TYPE": "kubernetes"}
CALICO = "quay.io/calico/node:v3.31.0"


@pytest.mark.parametrize("resource", [NAMESPACES, NETWORK_POLICIES])
@pytest.mark.parametrize(
    ("env", "watches"),
    [
        (KDD, YES),
        (KDD | {"FELIX_TYPHAK8SSERVICENAME": "none"}, YES),
        (KDD | {"FELIX_TYPHAK8SSERVICENAME": ""}, YES),
        (KDD | {"FELIX_TYPHAK8SSERVICENAME": "calico-typha"}, NO),
        (KDD | {"FELIX_TYPHAADDR": "10.0.0.1:5473"}, NO),
        ({"DATASTORE_TYPE": "etcdv3"}, NO),
        ({"ETCD_ENDPOINTS": "https://etcd:2379"}, NO),
        (KDD | {"ETCD_ENDPOINTS": "https://etcd:2379"}, YES),
    ],
)
def test_calico_watches_from_each_node_unless_typha_or_etcd_does(
    env: object, watches: Watches, resource: GroupResource
):
    assert _env(CALICO, env, resource) is watches


def test_calico_s_typha_service_is_read_from_its_config_map():
    env = (
        EnvVar("DATASTORE_TYPE", "kubernetes"),
        EnvVar("FELIX_TYPHAK8SSERVICENAME", None, "configMap/cm/typha"),
    )
    owner = daemon_set(container(CALICO, env=env, env_from=("kubernetes-services-endpoint",)))

    def watches(*maps: ConfigMap) -> Watches:
        return demand(owner, Fleet(daemon_sets=(owner,), config_maps=maps)).watches

    assert watches(ConfigMap("logging", "cm", {"typha": "none"})) is YES
    assert watches(ConfigMap("logging", "cm", {"typha": "calico-typha"})) is NO
    assert watches() is DEPENDS
    assert watches(ConfigMap("logging", "cm", {"other": ""})) is DEPENDS


def test_with_typha_the_reason_says_that_memory_still_grows():
    found = demand(daemon_set(container(CALICO, env=KDD | {"FELIX_TYPHAK8SSERVICENAME": "t"})))
    assert "memory grows" in found.reason
    without = demand(daemon_set(container(CALICO, env=KDD)))
    assert without.narrowing is not None
    assert without.narrowing.frees_memory is False


@pytest.mark.parametrize(
    ("data", "policies"),
    [
        ({}, YES),
        ({"enable-k8s-networkpolicy": "true"}, YES),
        ({"enable-k8s-networkpolicy": "false"}, NO),
        (None, DEPENDS),
    ],
)
def test_cilium_reads_its_config_map_through_the_api_server(data: object, policies: Watches):
    owner = daemon_set(container("quay.io/cilium/cilium:v1.18.1", "cilium-agent"))
    maps = () if data is None else (ConfigMap("logging", "cilium-config", data),)
    fleet = Fleet(daemon_sets=(owner,), config_maps=maps)
    assert demand(owner, fleet, NETWORK_POLICIES).watches is policies
    assert demand(owner, fleet).watches is YES


def test_flags_go_before_config_map_keys():
    flag = ("--enable-k8s-networkpolicy=false",)
    owner = daemon_set(container("cilium/cilium:v1.18.1", "cilium-agent", args=flag))
    maps = (ConfigMap("logging", "cilium-config", {"enable-k8s-networkpolicy": "true"}),)
    assert demand(owner, Fleet(daemon_sets=(owner,), config_maps=maps), NETWORK_POLICIES).watches is NO


def _otel(
    receivers: str = "{}", processors: str = "{}", used: str = "receivers: [], processors: []"
) -> tuple[DaemonSet, Fleet]:
    text = f"receivers: {receivers}\nprocessors: {processors}\nservice: {{pipelines: {{logs: {{{used}}}}}}}"
    return configured("otel/opentelemetry-collector-contrib:0.158.0", {"relay": text})


@pytest.mark.parametrize(
    ("processors", "watches"),
    [
        ("{k8sattributes: {}}", NO),
        ("{k8sattributes: {extract: {metadata: [k8s.pod.name, k8s.cluster.uid]}}}", NO),
        ("{k8sattributes: {extract: {labels: [{key: team, from: pod}]}}}", NO),
        ("{k8sattributes: {extract: {labels: [{key: team, from: namespace}]}}}", YES),
        ("{k8sattributes: {extract: {annotations: [{key_regex: '.*', from: namespace}]}}}", YES),
        ("{k8sattributes: {passthrough: true, extract: {labels: [{key: team, from: namespace}]}}}", NO),
        ("{k8sattributes: {passthrough: '${env:UNSET}', extract: {labels: [{from: namespace}]}}}", DEPENDS),
        ("{k8sattributes: [nonsense]}", NO),
    ],
)
def test_k8sattributes_watches_namespaces_only_to_extract_from_them(processors: str, watches: Watches):
    assert demand(*_otel(processors=processors, used="processors: [k8sattributes]")).watches is watches


def test_a_component_in_no_pipeline_does_not_run_and_two_count_twice():
    rule = "{extract: {labels: [{key: team, from: namespace}]}}"
    both = f"{{k8sattributes: {rule}, k8sattributes/2: {rule}}}"
    assert demand(*_otel(processors=both, used="processors: [batch]")).watches is NO
    found = demand(*_otel(processors=both, used="processors: [k8sattributes, k8sattributes/2]"))
    assert (found.watches, found.watchers_per_pod) == (YES, 2)


@pytest.mark.parametrize(
    ("receiver", "watches"),
    [
        ("{}", YES),
        ("{k8s_leader_elector: k8s_leader_elector}", DEPENDS),
        ("{namespaces: [a]}", NO),
    ],
)
def test_k8s_cluster_watches_in_every_pod_unless_one_is_elected(receiver: str, watches: Watches):
    owner, fleet = _otel(receivers=f"{{k8s_cluster: {receiver}}}", used="receivers: [k8s_cluster]")
    assert demand(owner, fleet).watches is watches
    assert demand(owner, fleet, NETWORK_POLICIES).watches is NO


def test_k8sobjects_watches_what_it_is_told_to():
    objects = (
        "{k8sobjects: {objects: [{name: networkpolicies, mode: watch}, {name: namespaces, mode: pull}]}}"
    )
    owner, fleet = _otel(receivers=objects, used="receivers: [k8sobjects]")
    assert demand(owner, fleet, NETWORK_POLICIES).watches is YES
    assert demand(owner, fleet).watches is NO


FLUENTD = "fluent/fluentd-kubernetes-daemonset:v1.19.3-debian-1"
FILTER = """
<source>
  @type tail
</source>
<filter kubernetes.**>
  @type kubernetes_metadata
  skip_namespace_metadata true
  %s
  <nested>
    watch false
  </nested>
</filter>
"""


@pytest.mark.parametrize(
    ("line", "env", "watches"),
    [
        ("", {}, YES),
        ("watch true", {}, YES),
        ("watch false", {}, NO),
        ("#watch false", {}, YES),
        ("watch \"#{ENV['W'] || 'true'}\"", {}, YES),
        ("watch \"#{ENV['W'] || 'true'}\"", {"W": "false"}, NO),
        ("watch \"#{ENV['W'] || 'false'}\"", {}, NO),
        ('watch "#{`hostname`}"', {}, DEPENDS),
        ("watch \"#{ENV['W'] || 'true'}\"", (EnvVar("W", None, "secret/a/b"),), DEPENDS),
    ],
)
def test_fluentd_watches_unless_the_filter_is_told_not_to(line: str, env: object, watches: Watches):
    assert demand(*configured(FLUENTD, {"fluent.conf": FILTER % line}, env=env)).watches is watches


def test_fluentd_without_the_filter_does_not_watch_and_its_own_configuration_counts_where_none_is_mounted():
    assert demand(*configured(FLUENTD, {"fluent.conf": "<match **>\n@type null\n</match>"})).watches is NO
    assert _env(FLUENTD) is YES
    assert _env(FLUENTD, {"FLUENT_KUBERNETES_WATCH": "false"}) is NO
    assert _env("fluent/fluentd:v1.16") is DEPENDS
    assert demand(*configured(FLUENTD, None)).watches is DEPENDS


@pytest.mark.parametrize("image", ["cr.fluentbit.io/fluent/fluent-bit:5.1.1", "amazon/aws-for-fluent-bit:3"])
def test_fluent_bit_gets_single_objects(image: str):
    assert _env(image) is NO


MODULE = """
- module: kubernetes
  metricsets: [node, pod, container, volume]
  %s
- module: system
"""


@pytest.mark.parametrize(
    ("tag", "option", "watches", "watchers"),
    [
        ("6.7.0", "", NO, 0),
        ("7.5.0", "", DEPENDS, 4),
        ("8.12.2", "", YES, 3),
        ("8.12.2", "add_metadata: false", NO, 0),
        ("8.15.0", "", YES, 1),
        ("8.15.0", "add_resource_metadata.namespace.enabled: false", DEPENDS, 3),
    ],
)
def test_metricbeat_counts_metricsets_until_watchers_are_shared(
    tag: str, option: str, watches: Watches, watchers: int
):
    found = demand(
        *configured(f"docker.elastic.co/beats/metricbeat:{tag}", {"kubernetes.yml": MODULE % option})
    )
    assert (found.watches, found.watchers_per_pod) == (watches, watchers), found.reason


@pytest.mark.parametrize(
    ("text", "watches"),
    [
        ("processors: [{add_kubernetes_metadata: {}}]", YES),
        ("processors:\n- add_kubernetes_metadata:\n", YES),
        ("filebeat.inputs: [{type: container, processors: [{add_kubernetes_metadata: {}}]}]", YES),
        ("filebeat.autodiscover: {providers: [{type: kubernetes, hints.enabled: true}]}", YES),
        ("filebeat.autodiscover.providers: [{type: kubernetes}]", YES),
        ("filebeat: {autodiscover: {providers: [{type: docker}]}}", NO),
        ("filebeat.inputs: []", NO),
        (
            "processors: [{add_kubernetes_metadata: {add_resource_metadata: {namespace: {enabled: false}}}}]",
            DEPENDS,
        ),
        (
            "processors: [{add_kubernetes_metadata: {add_resource_metadata.namespace.enabled: false}}]",
            DEPENDS,
        ),
        ("other: 1", DEPENDS),
    ],
)
def test_filebeat_watches_namespaces_beside_pods(text: str, watches: Watches):
    found = demand(*configured("docker.elastic.co/beats/filebeat:8.15.0", {"filebeat.yml": text}))
    assert found.watches is watches, found.reason


@pytest.mark.parametrize(("env", "watches"), [({"DD_CLUSTER_AGENT_ENABLED": "true"}, NO), ({}, DEPENDS)])
def test_datadog_s_node_agent_asks_the_cluster_agent(env: object, watches: Watches):
    assert _env("gcr.io/datadoghq/agent:7.60.0", env) is watches


def test_several_containers_of_one_agent_count_once():
    image = "gcr.io/datadoghq/agent:7.60.0"
    owner = daemon_set(
        container(image, "agent"), container(image, "trace-agent"), container(image, "process-agent")
    )
    assert demand(owner).watchers_per_pod == 1


@pytest.mark.parametrize(
    ("env", "env_from", "watches"),
    [
        ({}, (), NO),
        ({"AMBIENT_ENABLED": "true"}, (), YES),
        ({}, ("present",), YES),
        ({"AMBIENT_ENABLED": "false"}, ("present",), NO),
        ({}, ("absent",), DEPENDS),
    ],
)
def test_istio_s_node_agent_watches_with_ambient_only(
    env: object, env_from: tuple[str, ...], watches: Watches
):
    owner = daemon_set(container("istio/install-cni:1.28.0", env=env, env_from=env_from))
    maps = (ConfigMap("logging", "present", {"AMBIENT_ENABLED": "true"}),)
    assert demand(owner, Fleet(daemon_sets=(owner,), config_maps=maps)).watches is watches


@pytest.mark.parametrize(
    ("monitor", "watches"),
    [
        ("{type: cpu}", NO),
        ("{type: kubernetes-cluster}", DEPENDS),
        ("{type: kubernetes-cluster, alwaysClusterReporter: true}", YES),
    ],
)
def test_signalfx_watches_in_the_leader_unless_always(monitor: str, watches: Watches):
    image = "quay.io/signalfx/signalfx-agent:3.6.1"
    assert demand(*configured(image, {"agent.yaml": f"monitors: [{monitor}]"})).watches is watches


@pytest.mark.parametrize(
    "args", [("--network-policy=false",), ("--network-policy", "false"), ("sh -c --network-policy=false",)]
)
def test_kindnet_without_network_policies_watches_nodes_only(args: tuple[str, ...]):
    assert _env("ghcr.io/aojea/kindnetd:stable", args=args) is NO
    assert _env("ghcr.io/aojea/kindnetd:stable") is YES
    assert _env("ghcr.io/aojea/kindnetd:stable", args=("--network-policy",)) is YES
