"""AdmissionReview v1, read from bytes and answered. Pure.

The fields and their meaning: k8s.io/api/admission/v1/types.go.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

__all__ = [
    "AdmissionRequest",
    "AdmissionResponse",
    "BadReview",
    "Kind",
    "Operation",
    "encode",
    "one_line",
    "parse",
]

API_VERSION = "admission.k8s.io/v1"

LONGEST_WARNING = 256
"""Characters. Once all warnings of an answer together pass 4,096, the API server cuts each here, in the
middle of a word (`truncateItemRunes` in k8s.io/apiserver/pkg/endpoints/filters/warning.go)."""

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_NEEDS_OBJECT = ("CREATE", "UPDATE")
_NEEDS_OLD_OBJECT = ("UPDATE", "DELETE")


class BadReview(ValueError):  # noqa: N818 - as the errors of inventory are named
    """The body is no AdmissionReview that can be answered. The text says what is wrong with it."""


class Kind(Struct, frozen=True):
    """Group, version and kind of the object."""

    group: str
    version: str
    kind: str


class AdmissionRequest(Struct, frozen=True):
    """What the API server asks.

    Attributes:
        uid: of this question; the answer repeats it.
        operation: what is being done to the object.
        kind: of the object.
        namespace: of the object; empty for cluster-scoped ones.
        name: of the object; empty while the server has yet to make one up (`generateName`).
        object: as it would be stored; None for DELETE.
        old_object: as it is stored; None for CREATE.
        dry_run: nothing will be stored, so nothing may be done outside the answer either.
        user: who is doing it, by user name.
        sub_resource: such as `status`; empty when the whole object is meant.
        size: bytes of the question.
    """

    uid: str
    operation: Operation
    kind: Kind
    namespace: str
    name: str
    object: Mapping[str, Any] | None
    old_object: Mapping[str, Any] | None
    dry_run: bool
    user: str
    sub_resource: str = ""
    size: int = 0


class AdmissionResponse(Struct, frozen=True):
    """What we answer.

    Attributes:
        allowed: whether the object may be stored.
        message: why not; kubectl shows it. Without meaning when allowed.
        code: HTTP status that the client gets when not allowed, 400 or more.
        warnings: shown by kubectl one by one, also when allowed.
        patch: JSON patch operations (RFC 6902) for the object. Only a mutating webhook may send any: the
            server refuses a validating webhook's answer with a patch.
    """

    allowed: bool
    message: str = ""
    code: int = 403
    warnings: tuple[str, ...] = ()
    patch: tuple[Mapping[str, Any], ...] = ()


def parse(body: bytes) -> AdmissionRequest:
    """Read an AdmissionReview.

    Raises:
        BadReview: it is no JSON, of another kind or version, or a field that we read is missing or of the
            wrong type.
    """
    try:
        review = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested beyond reason
        raise BadReview(f"the body is no JSON: {error}") from error
    if not isinstance(review, dict):
        raise BadReview(f"the body must be an object, not {_type(review)}")
    if review.get("kind") != "AdmissionReview" or review.get("apiVersion") != API_VERSION:
        found = f"{_short(review.get('apiVersion'))} {_short(review.get('kind'))}"
        raise BadReview(f"{API_VERSION} AdmissionReview was expected, not {found}")
    request = review.get("request")
    if not isinstance(request, dict):
        raise BadReview(f"request must be an object, not {_type(request)}")
    operation = _text(request, "operation", needed=True)
    if operation not in _OPERATIONS:
        raise BadReview(f"request.operation must be one of {', '.join(_OPERATIONS)}, not {_short(operation)}")
    return AdmissionRequest(
        uid=_text(request, "uid", needed=True),
        operation=cast("Operation", operation),
        kind=_kind(request),
        namespace=_text(request, "namespace"),
        name=_text(request, "name"),
        object=_object(request, "object", needed=operation in _NEEDS_OBJECT),
        old_object=_object(request, "oldObject", needed=operation in _NEEDS_OLD_OBJECT),
        dry_run=_flag(request, "dryRun"),
        user=_user(request),
        sub_resource=_text(request, "subResource"),
        size=len(body),
    )


def encode(uid: str, response: AdmissionResponse) -> bytes:
    """The AdmissionReview that answers a request.

    A patch goes with an allowed answer only. Warnings are made one line each of at most
    `LONGEST_WARNING` characters without control characters: the server drops a warning that has any
    (`NewWarningHeader` in k8s.io/apimachinery/pkg/util/net/http.go).

    Args:
        uid: of the request.
        response: the answer.

    Raises:
        TypeError: a value of the patch cannot be written as JSON.
    """
    answer: dict[str, Any] = {"uid": uid, "allowed": response.allowed}
    if not response.allowed:
        answer["status"] = {"code": response.code, "message": response.message}
    if response.warnings:
        answer["warnings"] = [one_line(warning) for warning in response.warnings]
    if response.patch and response.allowed:
        operations = msgspec.json.encode([dict(operation) for operation in response.patch])
        answer["patchType"] = "JSONPatch"
        answer["patch"] = base64.b64encode(operations).decode()
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": answer})


def one_line(text: str, longest: int = LONGEST_WARNING) -> str:
    """Text without line breaks and control characters, cut after a whole word where it is too long."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    whole = " ".join(text.split()) if "  " in text else text.strip()
    if len(whole) <= longest:
        return whole
    cut = whole[: longest - 1]
    word_end = cut.rfind(" ")
    # A very long last word (an image, a name) says more in part than not at all.
    return (cut[:word_end] if word_end > longest * 3 // 4 else cut).rstrip() + "…"


def _type(value: object) -> str:
    return "absent or null" if value is None else type(value).__name__


def _short(value: object) -> str:
    if isinstance(value, str):
        return ascii(value[:64])  # it is put into logs
    return _type(value)


def _text(request: Mapping[str, Any], field: str, *, needed: bool = False) -> str:
    value = request.get(field)
    if value is None and not needed:
        return ""
    if not isinstance(value, str):
        raise BadReview(f"request.{field} must be a string, not {_type(value)}")
    if needed and not value:
        raise BadReview(f"request.{field} must not be empty")
    return value


def _object(request: Mapping[str, Any], field: str, *, needed: bool) -> Mapping[str, Any] | None:
    value = request.get(field)
    if value is None and not needed:
        return None
    if not isinstance(value, dict):
        raise BadReview(f"request.{field} must be an object, not {_type(value)}")
    return value


def _flag(request: Mapping[str, Any], field: str) -> bool:
    value = request.get(field)
    if value is not None and not isinstance(value, bool):
        raise BadReview(f"request.{field} must be true or false, not {_type(value)}")
    return bool(value)


def _kind(request: Mapping[str, Any]) -> Kind:
    value = _object(request, "kind", needed=True) or {}
    group, version, kind = value.get("group", ""), value.get("version", ""), value.get("kind", "")
    if not (isinstance(group, str) and isinstance(version, str) and isinstance(kind, str) and kind):
        raise BadReview("request.kind must have a kind, and its group, version and kind must be strings")
    return Kind(group, version, kind)


def _user(request: Mapping[str, Any]) -> str:
    info = _object(request, "userInfo", needed=False) or {}
    name = info.get("username")
    if name is not None and not isinstance(name, str):
        raise BadReview(f"request.userInfo.username must be a string, not {_type(name)}")
    return name or ""
