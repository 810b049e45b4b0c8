"""Reading and answering AdmissionReviews, without a server."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller_reviews import API, body, request
from watchbudget.controller.review import (
    LONGEST_WARNING,
    AdmissionRequest,
    AdmissionResponse,
    BadReview,
    Kind,
    encode,
    one_line,
    parse,
)


def test_every_field_is_read():
    question = body(operation="UPDATE", oldObject={"metadata": {}}, dryRun=True)
    review = parse(question)
    assert review == AdmissionRequest(
        uid="u-1",
        operation="UPDATE",
        kind=Kind("apps", "v1", "DaemonSet"),
        namespace="logging",
        name="agent",
        object={"metadata": {"name": "agent"}},
        old_object={"metadata": {}},
        dry_run=True,
        user="alice",
        size=len(question),
    )


def test_what_the_server_leaves_out_is_empty():
    review = parse(body(namespace=..., name=..., userInfo=..., dryRun=None, oldObject=...))
    assert (review.namespace, review.name, review.user, review.dry_run) == ("", "", "", False)
    assert review.old_object is None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": NaN}', "invalid character"),
        (b"[]", "must be an object, not list"),
        (b"null", "must be an object"),
        (b"{}", "AdmissionReview was expected"),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}', "v1beta1"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "Pod"}', "'Pod'"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": ["AdmissionReview"]}', "v1' list"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "request must be an object"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": []}', "not list"),
    ],
)  # fmt: skip
def test_what_is_no_review_is_refused_with_a_reason(document: bytes, said: str):
    with pytest.raises(BadReview, match=said.replace("(", r"\(")):
        parse(document)


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "uid": [..., None, "", 7, ["u"]],
        "operation": [..., None, "", "create", "PATCH", 7],
        "kind": [..., None, "DaemonSet", {}, {"kind": 7}, {"kind": "DaemonSet", "group": None}],
        "namespace": [7, {}],
        "name": [False, []],
        "object": [..., None, [], "x", 0],
        "oldObject": [[], "x", 0],
        "dryRun": ["false", 0],
        "userInfo": ["alice", [], {"username": 7}],
    }.items(),
)
def test_every_wrong_type_is_named(field: str, values: list[object]):
    for value in values:
        with pytest.raises(BadReview, match=field):
            parse(body(**{field: value}))


def test_objects_that_the_operation_needs_must_be_there():
    for operation in ("UPDATE", "DELETE"):
        with pytest.raises(BadReview, match="oldObject"):
            parse(body(operation=operation))
    assert parse(body(operation="DELETE", object=None, oldObject={})).object is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(request())), json_values))
def test_any_value_in_any_field_is_read_or_refused(fields: dict[str, Any]):
    with suppress(BadReview):
        review = parse(body(**fields))
        assert isinstance(review.uid, str)
        assert review.uid
        assert isinstance(review.dry_run, bool)


def answer_of(response: AdmissionResponse, uid: str = "u-1") -> dict[str, Any]:
    review = json.loads(encode(uid, response))
    assert (review["apiVersion"], review["kind"]) == (API, "AdmissionReview")
    answer: dict[str, Any] = review["response"]
    return answer


def test_an_allowed_answer_says_no_more_than_needed():
    assert answer_of(AdmissionResponse(allowed=True), "x") == {"uid": "x", "allowed": True}


def test_a_denial_has_message_and_code_and_no_patch():
    response = AdmissionResponse(
        allowed=False, message="too much", code=403, patch=({"op": "remove", "path": "/a"},)
    )
    expected = {"uid": "u-1", "allowed": False, "status": {"code": 403, "message": "too much"}}
    assert answer_of(response) == expected


def test_a_patch_travels_in_base64():
    operations = ({"op": "add", "path": "/metadata/annotations/x~1y", "value": "ü"},)
    answer = answer_of(AdmissionResponse(allowed=True, patch=operations))
    assert answer["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(answer["patch"])) == list(operations)


def test_a_long_warning_ends_after_a_word():
    cut = one_line("number " * 60)
    assert len(cut) <= LONGEST_WARNING
    assert cut.endswith("number…")
    assert one_line("x" * 300) == "x" * (LONGEST_WARNING - 1) + "…"
    assert one_line("a\tb\r\n\x00c\ud800") == "a b c"


@given(st.text(max_size=600))
def test_every_warning_is_one_the_server_takes(text: str):
    line = one_line(text)
    line.encode()  # valid UTF-8
    assert len(line) <= LONGEST_WARNING
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)
    assert one_line(line) == line
