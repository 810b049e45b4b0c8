"""Which resources are cluster-scoped: there, a RoleBinding grants no list.

A list of namespaces is a request without a namespace, and RoleBindings only count for requests in
theirs (k8s.io/apiserver pkg/endpoints/request/requestinfo.go, v0.36.3).
"""

from __future__ import annotations

from watchbudget.api.resources import GroupResource

__all__ = ["is_cluster_scoped"]

_CLUSTER_SCOPED = frozenset(
    GroupResource(group, resource)
    for group, names in {
        "": "componentstatuses namespaces nodes persistentvolumes",
        "admissionregistration.k8s.io": (
            "mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations"
            " validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations"
        ),
        "apiextensions.k8s.io": "customresourcedefinitions",
        "apiregistration.k8s.io": "apiservices",
        "certificates.k8s.io": "certificatesigningrequests clustertrustbundles",
        "flowcontrol.apiserver.k8s.io": "flowschemas prioritylevelconfigurations",
        "networking.k8s.io": "ingressclasses ipaddresses servicecidrs",
        "node.k8s.io": "runtimeclasses",
        "rbac.authorization.k8s.io": "clusterrolebindings clusterroles",
        "resource.k8s.io": "deviceclasses resourceslices",
        "scheduling.k8s.io": "priorityclasses",
        "storage.k8s.io": "csidrivers csinodes storageclasses volumeattachments volumeattributesclasses",
    }.items()
    for resource in names.split()
)
"""`kubectl api-resources --namespaced=false` of Kubernetes v1.36, without what can only be created."""


def is_cluster_scoped(resource: GroupResource) -> bool:
    """Whether objects of the resource have no namespace.

    Custom resources are taken as namespaced. Where that is wrong, a RoleBinding is shown as a
    grant in its namespace; the cluster scope, which is what is priced, is the same either way.
    """
    return resource in _CLUSTER_SCOPED
