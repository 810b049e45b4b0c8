"""The pod template of a workload: containers and volumes, read from raw objects."""

from __future__ import annotations

from collections.abc import Iterator

from watchbudget.inventory.fields import Fields
from watchbudget.inventory.fleet import Container, EnvVar, Volume

__all__ = ["containers", "service_account_name", "volumes"]

_RESOURCE_PARTS = ("limits", "requests", "claims")
_KEY_SOURCES = (("configMapKeyRef", "configMap"), ("secretKeyRef", "secret"))


def service_account_name(pod: Fields) -> str:
    """The account that the pod runs as.

    `serviceAccount` is the deprecated alias, and loses to `serviceAccountName`:
    pkg/apis/core/v1/conversion.go, Convert_v1_PodSpec_To_core_PodSpec. The admission plugin
    ServiceAccount puts `default` where neither is.
    """
    return pod.text("serviceAccountName") or pod.text("serviceAccount") or "default"


def containers(pod: Fields) -> tuple[Container, ...]:
    """Containers, then init containers, in the order of the template."""
    if pod.raw("containers") in (None, []):
        pod.missing("containers")
    regular = [_container(fields, init=False) for fields in pod.children("containers")]
    return (*regular, *(_container(fields, init=True) for fields in pod.children("initContainers")))


def volumes(pod: Fields) -> tuple[Volume, ...]:
    """The volumes, as far as configuration or an identity may come from them."""
    return tuple(_volume(fields) for fields in pod.children("volumes"))


def _container(fields: Fields, *, init: bool) -> Container:
    resources = fields.child("resources")
    return Container(
        name=fields.required_text("name") or "",
        image=fields.required_text("image") or "",
        command=fields.texts("command"),
        args=fields.texts("args"),
        env=tuple(_env(variable) for variable in fields.children("env")),
        env_from=tuple(_env_from(fields)),
        memory_limit=resources.child("limits").size("memory"),
        memory_request=resources.child("requests").size("memory"),
        resource_parts=tuple(part for part in _RESOURCE_PARTS if resources.raw(part)),
        mounts=tuple(
            (mount.required_text("name") or "", mount.required_text("mountPath") or "")
            for mount in fields.children("volumeMounts")
        ),
        init=init,
        sidecar=init and fields.text("restartPolicy") == "Always",
    )


def _env(fields: Fields) -> EnvVar:
    name = fields.required_text("name") or ""
    if fields.has("valueFrom"):
        return EnvVar(name, value_from=_value_from(fields.child("valueFrom")))
    return EnvVar(name, fields.text("value") or "")


def _value_from(fields: Fields) -> str:
    for key, kind in _KEY_SOURCES:
        if fields.has(key):
            reference = fields.child(key)
            # The name may be absent: the API allows it for the sake of old objects.
            return f"{kind}/{reference.text('name') or ''}/{reference.required_text('key') or ''}"
    if fields.has("fieldRef"):
        return f"field/{fields.child('fieldRef').required_text('fieldPath') or ''}"
    if fields.has("resourceFieldRef"):
        return f"resource/{fields.child('resourceFieldRef').required_text('resource') or ''}"
    return "unknown"


def _env_from(fields: Fields) -> Iterator[str]:
    for source in fields.children("envFrom"):
        if source.has("configMapRef"):
            name = source.child("configMapRef").text("name")
            if name:
                yield name


def _volume(fields: Fields) -> Volume:
    config_maps: list[str | None] = []
    secrets: list[str | None] = []
    token = False
    if fields.has("configMap"):
        config_maps.append(fields.child("configMap").text("name"))
    if fields.has("secret"):
        secrets.append(fields.child("secret").text("secretName"))
    for source in fields.child("projected").children("sources"):
        config_maps.append(source.child("configMap").text("name"))
        secrets.append(source.child("secret").text("name"))
        token |= source.has("serviceAccountToken")
    return Volume(
        name=fields.required_text("name") or "",
        config_maps=tuple(name for name in config_maps if name),
        secrets=tuple(name for name in secrets if name),
        host_path=fields.child("hostPath").required_text("path") if fields.has("hostPath") else None,
        service_account_token=token,
    )
