"""Random roles, bindings and requests for comparing the authorizer with a real one: seeded, so repeatable.

Every object lives in namespaces `wbr-*` or is named `wbr-*`. Nothing here bends to what our authorizer
can do: the objects are all that the API server accepts and that resolves the same way each time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from watchbudget.demand.authorizer import groups_of, username_of
from watchbudget.demand.builtin_roles import builtin_roles
from watchbudget.inventory.rbac import Binding, LabelSelector, PolicyRule, Rbac, Requirement, Role, Subject

API = "rbac.authorization.k8s.io"
NAMESPACES = tuple(f"wbr-{index}" for index in range(6))
ACCOUNTS = tuple((namespace, f"agent-{index}") for namespace in NAMESPACES for index in range(4))
GROUPS = ("", "networking.k8s.io", "apps", "extensions", "crd.projectcalico.org")
RESOURCES = ("namespaces", "networkpolicies", "pods", "deployments", "secrets")
SUBRESOURCES = ("", "status", "log", "scale", "*")
VERBS = ("get", "list", "watch", "create")
NAMES = ("one", "two", "three", "")
BUILTIN = ("view", "edit", "admin", "system:node-problem-detector", "system:heapster", "system:node")


@dataclass(frozen=True)
class Case:
    """One question to both authorizers."""

    user: str
    groups: tuple[str, ...]
    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    def review(self) -> dict[str, Any]:
        """Return the SubjectAccessReview that asks the server."""
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": self.user,
                "groups": list(self.groups),
                "resourceAttributes": {
                    "verb": self.verb,
                    "group": self.group,
                    "resource": self.resource,
                    "subresource": self.subresource,
                    "namespace": self.namespace,
                    "name": self.name,
                },
            },
        }


def account_case(account: tuple[str, str], **request: str) -> Case:
    """Return a question about a service account, with the groups its token has."""
    return Case(username_of(*account), groups_of(account[0]), **request)


class Generator:
    """Makes a cluster's worth of RBAC and questions about it from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def rbac(self) -> Rbac:
        """Return some 74 roles and 115 bindings."""
        roles = [
            *(self._plain(index) for index in range(36)),
            *(self._aggregated(index) for index in range(16)),
            *self._circle(),
            *(
                Role(namespace, f"wbr-role-{index}", self._rules())
                for namespace in NAMESPACES
                for index in range(3)
            ),
        ]
        # Aggregated ones three times: they are fewer, and have more ways to be wrong.
        cluster_roles = [
            role.name
            for role in roles
            if role.namespace is None
            for _ in range(1 + 2 * bool(role.aggregation))
        ]
        return Rbac(tuple(roles), tuple(self._bindings(cluster_roles)))

    def cases(self, rbac: Rbac, count: int) -> list[Case]:
        """Return questions, most of them close to what some rule says: where the mistakes are."""
        rules = {(role.namespace, role.name): role.rules for role in (*builtin_roles(), *rbac.roles)}
        for name in ("view", "edit", "admin"):
            rules[None, name] = rules[None, f"system:aggregate-to-{name}"]
        cases: set[Case] = set()
        while len(cases) < count:
            binding = self._random.choice(rbac.bindings)
            role_namespace = binding.namespace if binding.role_kind == "Role" else None
            cases.add(self._case(binding, rules.get((role_namespace, binding.role_name), ())))
        return sorted(cases, key=repr)

    def _some(self, values: tuple[str, ...], most: int) -> tuple[str, ...]:
        return tuple(self._random.sample(values, self._random.randint(1, min(most, len(values)))))

    def _rules(self) -> tuple[PolicyRule, ...]:
        return tuple(self._rule() for _ in range(self._random.choice((0, 1, 1, 2, 3))))

    def _rule(self) -> PolicyRule:
        chance = self._random.random
        combined = tuple(f"{resource}/{sub}" for resource in (*RESOURCES, "*") for sub in SUBRESOURCES if sub)
        return PolicyRule(
            verbs=("*",) if chance() < 0.1 else self._some(VERBS, 3),
            api_groups=("*",) if chance() < 0.1 else self._some(GROUPS, 2),
            resources=("*",) if chance() < 0.06 else self._some((*RESOURCES, *RESOURCES, *combined), 3),
            resource_names=self._some(NAMES, 2) if chance() < 0.25 else (),
        )

    def _labels(self, level: int) -> dict[str, str]:
        labels = {"wbr-level": str(level), "wbr-colour": self._random.choice("rgbcmyk")}
        if self._random.random() < 0.3:
            labels["wbr-mark"] = self._random.choice(("x", "y"))
        return labels

    def _plain(self, index: int) -> Role:
        labels = self._labels(0)
        if index < 2:  # what add-ons do so that people who may view see their objects too
            labels[f"{API}/aggregate-to-view"] = "true"
        return Role(None, f"wbr-plain-{index}", self._rules(), labels=labels)

    def _aggregated(self, index: int) -> Role:
        # A level only takes from the levels below: in a circle the result may depend on who comes first.
        level = 1 + index % 3
        below = Requirement("wbr-level", "In", tuple(str(lower) for lower in range(level)))
        selectors = tuple(
            LabelSelector(
                match_labels=(("wbr-colour", self._random.choice("rgbcmykn")),)
                if self._random.random() < 0.6
                else (),
                match_expressions=(below, *self._marks()),
            )
            for _ in range(self._random.randint(1, 2))
        )
        own = self._rules() if self._random.random() < 0.5 else ()
        return Role(None, f"wbr-sum-{index}", own, labels=self._labels(level), aggregation=selectors)

    def _marks(self) -> tuple[Requirement, ...]:
        return self._random.choice(
            (
                (),
                (Requirement("wbr-mark", "Exists"),),
                (Requirement("wbr-mark", "DoesNotExist"),),
                (Requirement("wbr-mark", "NotIn", ("x",)),),
                (Requirement("wbr-mark", "In", ("x", "y")),),
            )
        )

    def _circle(self) -> tuple[Role, ...]:
        """Return three that aggregate each other, one with rules, and one that matches only itself."""

        def role(name: str, selects: str, rules: tuple[PolicyRule, ...] = ()) -> Role:
            chosen = LabelSelector(match_labels=(("wbr-circle", selects),))
            return Role(None, f"wbr-circle-{name}", rules, {"wbr-circle": name}, (chosen,))

        return (
            role("a", "b", (self._rule(),)),
            role("b", "c"),
            role("c", "a"),
            role("d", "d", (self._rule(),)),
        )

    def _bindings(self, cluster_roles: list[str]) -> list[Binding]:
        bindings = []
        for index in range(45):
            role = self._random.choice((*cluster_roles, *cluster_roles, *BUILTIN, "wbr-missing"))
            bindings.append(Binding(None, f"wbr-{index}", "ClusterRole", role, self._subjects(None)))
        for index in range(70):
            namespace = self._random.choice(NAMESPACES)
            if self._random.random() < 0.5:
                kind, role = "Role", f"wbr-role-{self._random.randint(0, 3)}"  # 3 does not exist
            else:
                kind, role = "ClusterRole", self._random.choice((*cluster_roles, *BUILTIN, "cluster-admin"))
            bindings.append(Binding(namespace, f"wbr-{index}", kind, role, self._subjects(namespace)))
        return bindings

    def _subjects(self, namespace: str | None) -> tuple[Subject, ...]:
        return tuple(self._subject(namespace) for _ in range(self._random.choice((0, 1, 1, 1, 2, 3))))

    def _subject(self, namespace: str | None) -> Subject:
        account = self._random.choice(ACCOUNTS)
        kind = self._random.random()
        if kind < 0.6:
            if namespace and self._random.random() < 0.4:
                return Subject("ServiceAccount", account[1])
            return Subject("ServiceAccount", account[1], account[0])
        if kind < 0.75:
            return Subject("User", self._random.choice((username_of(*account), account[1], "jane")))
        if kind < 0.98 or namespace is None:
            return Subject("Group", self._random.choice((f"system:serviceaccounts:{account[0]}", "team")))
        return Subject("Group", self._random.choice(("system:serviceaccounts", "system:authenticated")))

    def _case(self, binding: Binding, rules: tuple[PolicyRule, ...]) -> Case:
        pick = self._random.choice
        rule = pick(rules) if rules and self._random.random() < 0.9 else self._rule()
        user, groups = self._who(binding)
        resource, _, subresource = pick(rule.resources).partition("/")
        request = {
            "verb": pick(rule.verbs),
            "group": pick(rule.api_groups),
            "resource": resource,
            "subresource": subresource,
            "namespace": binding.namespace or pick(("", *NAMESPACES)),
            "name": pick(rule.resource_names) if rule.resource_names else pick(("", "one")),
        }
        anything = {
            "verb": VERBS,
            "group": GROUPS,
            "resource": RESOURCES,
            "subresource": SUBRESOURCES[:-1],
            "namespace": ("", *NAMESPACES, "wbr-absent"),
            "name": NAMES,
        }
        for field, choices in anything.items():
            if request[field] == "*" or self._random.random() < 0.22:
                request[field] = pick(choices)
        return Case(user, groups, **request)

    def _who(self, binding: Binding) -> tuple[str, tuple[str, ...]]:
        account = self._random.choice(ACCOUNTS)
        if binding.subjects and self._random.random() < 0.9:
            subject = self._random.choice(binding.subjects)
            if subject.kind == "ServiceAccount":
                account = subject.namespace or binding.namespace or account[0], subject.name
            elif subject.kind == "User" and not subject.name.startswith("system:"):
                return subject.name, ("system:authenticated",)
            elif subject.name == "team":
                return "jane", ("team", "system:authenticated")
            elif subject.name.startswith("system:serviceaccounts:"):
                account = subject.name.rpartition(":")[2], account[1]
        return username_of(*account), groups_of(account[0])


def api_path(item: Role | Binding) -> str:
    """Return the collection that the object is created in."""
    kind = "role" if isinstance(item, Role) else "rolebinding"
    if item.namespace:
        return f"/apis/{API}/v1/namespaces/{item.namespace}/{kind}s"
    return f"/apis/{API}/v1/cluster{kind}s"


def api_object(item: Role | Binding) -> dict[str, Any]:
    """Return the object as the API server takes it."""
    kind = "Role" if isinstance(item, Role) else "RoleBinding"
    metadata: dict[str, Any] = {"name": item.name}
    if item.namespace:
        metadata["namespace"] = item.namespace
    made: dict[str, Any] = {
        "apiVersion": f"{API}/v1",
        "kind": kind if item.namespace else f"Cluster{kind}",
        "metadata": metadata,
    }
    if isinstance(item, Binding):
        made["roleRef"] = {"apiGroup": API, "kind": item.role_kind, "name": item.role_name}
        made["subjects"] = [_subject_object(subject) for subject in item.subjects]
        return made
    metadata["labels"] = dict(item.labels)
    made["rules"] = [_rule_object(rule) for rule in item.rules]
    if item.aggregation is not None:
        made["aggregationRule"] = {
            "clusterRoleSelectors": [_selector_object(selector) for selector in item.aggregation]
        }
    return made


def _subject_object(subject: Subject) -> dict[str, Any]:
    if subject.kind == "ServiceAccount":
        named = {"kind": subject.kind, "name": subject.name}
        return named | ({"namespace": subject.namespace} if subject.namespace else {})
    return {"kind": subject.kind, "name": subject.name, "apiGroup": API}


def _rule_object(rule: PolicyRule) -> dict[str, Any]:
    made: dict[str, Any] = {
        "verbs": list(rule.verbs),
        "apiGroups": list(rule.api_groups),
        "resources": list(rule.resources),
    }
    return made | ({"resourceNames": list(rule.resource_names)} if rule.resource_names else {})


def _selector_object(selector: LabelSelector) -> dict[str, Any]:
    return {
        "matchLabels": dict(selector.match_labels),
        "matchExpressions": [
            {"key": entry.key, "operator": entry.operator}
            | ({"values": list(entry.values)} if entry.values else {})
            for entry in selector.match_expressions
        ],
    }
