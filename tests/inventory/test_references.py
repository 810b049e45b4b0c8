"""ConfigMap references in every place a pod template may hold one."""

from __future__ import annotations

import pytest

from watchbudget.inventory.references import config_map_references


def with_pod(**pod: object) -> dict[str, object]:
    return {"spec": {"template": {"spec": pod}}}


@pytest.mark.parametrize(
    "pod",
    [
        {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
        {
            "volumes": [
                {
                    "name": "v",
                    "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]},
                }
            ]
        },
        {
            "containers": [
                {"env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}
            ]
        },
        {"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]}]},
    ],
)
def test_is_found(pod: dict[str, object]):
    assert config_map_references(with_pod(**pod)) == {"c": False}


def test_is_optional_only_if_all_references_are():
    optional = {"configMapRef": {"name": "c", "optional": True}}
    required = {"configMapRef": {"name": "c"}}
    assert config_map_references(with_pod(containers=[{"envFrom": [optional, optional]}])) == {"c": True}
    assert config_map_references(with_pod(containers=[{"envFrom": [optional, required]}])) == {"c": False}
    assert config_map_references(with_pod(containers=[{"envFrom": [required, optional]}])) == {"c": False}


def test_the_published_authority_is_no_configuration():
    sources = [{"serviceAccountToken": {}}, {"configMap": {"name": "kube-root-ca.crt"}}]
    assert config_map_references(with_pod(volumes=[{"projected": {"sources": sources}}])) == {}


@pytest.mark.parametrize(
    "raw", [{}, {"spec": 5}, {"spec": {"configMap": "x"}}, {"spec": [{"configMap": {"name": 5}}]}]
)
def test_nonsense_refers_to_nothing(raw: dict[str, object]):
    assert config_map_references(raw) == {}
