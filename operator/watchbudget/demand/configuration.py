"""What a container is configured with: its arguments, environment and the ConfigMaps it mounts.

An answer has three kinds: known, not set, and hidden (it comes from a Secret, or from a
ConfigMap that is not among the input). Hidden is never taken for "not set".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from watchbudget.inventory.fleet import ConfigMap, Container, DaemonSet, Fleet

__all__ = ["NOT_SET", "Configuration", "Setting", "Text", "configuration_of"]

_UNRELATED = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt", "kubernetes-services-endpoint"})
"""ConfigMaps known to hold no agent configuration: the cluster's CA bundles, and the API server's
address for network plugins (https://docs.tigera.io/calico/latest/operations/ebpf/enabling-ebpf)."""

_REFERENCE = re.compile(
    r"\$(?:\((?P<k8s>\w+)\)|\{(?:env:)?(?P<name>\w+)(?:(?::-?|-)(?P<default>[^${}]*))?\})"
)
_TEMPLATE = re.compile(r"\$[({]|#\{|\{\{")


class Text(Struct, frozen=True):
    """One key of a ConfigMap that the container can read."""

    config_map: str
    key: str
    text: str
    directory: str | None  # where it is mounted; None when it is read by other means

    @property
    def title(self) -> str:
        """`ConfigMap NAME, key KEY`, as messages name it."""
        return f"ConfigMap {self.config_map}, key {self.key}"


class Setting(Struct, frozen=True):
    """What was found: a value and where, or nothing, or why it cannot be known."""

    value: str | None = None
    where: str = ""
    hidden: str | None = None


NOT_SET = Setting()


class Configuration(Struct, frozen=True):
    """Everything readable of one container's configuration. `hidden` names what is not, and why.

    `hidden_directories` are the mount paths of what is hidden.
    """

    words: tuple[str, ...] = ()
    env: Mapping[str, Setting] | None = None
    texts: tuple[Text, ...] = ()
    hidden: tuple[str, ...] = ()
    hidden_directories: frozenset[str] = frozenset()
    hidden_env: str | None = None  # an envFrom that is not among the input

    def argument(self, name: str) -> Setting:
        """The last `--name=value`, `--name value` or bare `--name` (then `true`) of command and arguments."""
        found = NOT_SET
        for position, word in enumerate(self.words):
            flag, equals, value = word.partition("=")
            if not flag.startswith("-") or flag.lstrip("-") != name:
                continue
            following = self.words[position + 1 : position + 2]
            if not equals:
                value = following[0] if following and not following[0].startswith("-") else "true"
            found = self.resolve(value, f"argument {flag}")
        return found

    def variable(self, name: str) -> Setting:
        """An environment variable, from `env` or `envFrom`."""
        found = (self.env or {}).get(name)
        if found is None:
            return Setting(hidden=self.hidden_env) if self.hidden_env else NOT_SET
        return found if found.value is None else self.resolve(found.value, found.where)

    def key(self, name: str) -> Setting:
        """A ConfigMap key of this name: some agents take each key as one option."""
        for text in self.texts:
            if text.key == name:
                return Setting(text.text.strip(), text.title)
        missing = [
            why for why in self.hidden if why.startswith("ConfigMap")
        ]  # a Secret holds no single options
        return Setting(hidden="; ".join(missing) or None)

    def resolve(self, value: str, where: str) -> Setting:
        """Replace a reference to the environment: `$(NAME)`, `${NAME}`, `${env:NAME}`, `${NAME:-default}`.

        A value with any other template in it, or with a variable that is hidden, is hidden.
        """
        if not _TEMPLATE.search(value):  # what any reference begins with
            return Setting(value, where)
        found = _REFERENCE.fullmatch(value.strip())
        if found:
            variable = (self.env or {}).get(found["k8s"] or found["name"])
            if variable is not None:
                return variable
            if self.hidden_env:
                return Setting(hidden=self.hidden_env)
            if found["default"] is not None:
                return Setting(found["default"], where)
        return Setting(hidden=f"{where} is a template: {value.strip()[:80]}")


def configuration_of(
    daemon_set: DaemonSet, container: Container, fleet: Fleet, config_maps: Iterable[str] = ()
) -> Configuration:
    """Gather what one container of a DaemonSet is configured with.

    Args:
        daemon_set: owner of the container.
        container: the agent's container.
        fleet: where ConfigMaps are looked up, in the DaemonSet's namespace.
        config_maps: names of further ConfigMaps that the agent reads through the API
            server rather than from a mount.
    """
    index = _index(fleet.config_maps)
    texts: list[Text] = []
    hidden: list[str] = []
    directories: set[str] = set()
    named = tuple(config_maps)
    for name, directory in (*_mounted(daemon_set, container), *((name, None) for name in named)):
        found = index.get((daemon_set.namespace, name))
        if found is not None:
            texts += [Text(name, key, text, directory) for key, text in found.data.items()]
        elif name not in _UNRELATED:
            hidden.append(f"ConfigMap {name} is not among the input")
            directories |= {directory} if directory else set()
    for name, directory in _secrets(daemon_set, container):
        hidden.append(f"Secret {name}, which is not read")
        directories.add(directory)
    env, hidden_env = _environment(daemon_set, container, index)
    return Configuration(
        words=tuple(word for part in (*container.command, *container.args) for word in part.split()),
        env=env,
        texts=tuple(texts),
        hidden=tuple(dict.fromkeys(hidden)),
        hidden_directories=frozenset(directories),
        hidden_env=hidden_env,
    )


def _mounted(daemon_set: DaemonSet, container: Container) -> list[tuple[str, str | None]]:
    mounts = dict(container.mounts)
    return [(name, mounts[v.name]) for v in daemon_set.volumes if v.name in mounts for name in v.config_maps]


def _secrets(daemon_set: DaemonSet, container: Container) -> list[tuple[str, str]]:
    mounts = dict(container.mounts)
    return [(name, mounts[v.name]) for v in daemon_set.volumes if v.name in mounts for name in v.secrets]


def _environment(
    daemon_set: DaemonSet, container: Container, index: Mapping[tuple[str, str], ConfigMap]
) -> tuple[dict[str, Setting], str | None]:
    env: dict[str, Setting] = {}
    missing: list[str] = []
    for name in container.env_from:
        found = index.get((daemon_set.namespace, name))
        if found is None:
            missing += [name] if name not in _UNRELATED else []
            continue
        env |= {key: Setting(text, f"ConfigMap {name}, key {key}") for key, text in found.data.items()}
    for variable in container.env:
        where = f"environment variable {variable.name}"
        if variable.value_from is None:
            env[variable.name] = Setting(variable.value or "", where)
            continue
        kind, _, rest = variable.value_from.partition("/")
        name, _, key = rest.partition("/")
        found = index.get((daemon_set.namespace, name)) if kind == "configMap" else None
        if found is not None and key in found.data:
            env[variable.name] = Setting(found.data[key], f"{where} from ConfigMap {name}, key {key}")
        else:
            env[variable.name] = Setting(
                hidden=f"{where} comes from {variable.value_from}, which is not among the input"
            )
    hidden = f"ConfigMap {', '.join(missing)} of envFrom is not among the input" if missing else None
    return env, hidden


_last: tuple[tuple[ConfigMap, ...], dict[tuple[str, str], ConfigMap]] = ((), {})


def _index(config_maps: tuple[ConfigMap, ...]) -> dict[tuple[str, str], ConfigMap]:
    """ConfigMaps by namespace and name. Built once per fleet: without it judging is quadratic."""
    global _last  # noqa: PLW0603 - a memo of one, by identity of an immutable tuple
    known, index = _last
    if known is not config_maps:
        index = {(entry.namespace, entry.name): entry for entry in config_maps}
        _last = (config_maps, index)
    return index
