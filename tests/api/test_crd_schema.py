"""The CRD as a document; what the API server makes of it is tested in test_crd_on_server.py."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from watchbudget.api.crd import crd, crd_yaml
from watchbudget.api.fields import ApiModel
from watchbudget.api.rules import RULE_NAMES
from watchbudget.api.structural import structural_schema

FILE = Path(__file__).resolve().parents[2] / "crds" / "watchbudget.io_watchbudgets.yaml"
VERSION = crd()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
COLUMNS = VERSION["additionalPrinterColumns"]


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


NODES = {path: node for path, node in walk(SCHEMA) if path.startswith((".spec", ".status"))}


def test_the_checked_in_file_is_what_the_models_say():
    assert FILE.read_text() == crd_yaml(), "crds/ is stale; run `make crds`"


def test_the_text_says_what_the_definition_says():
    text = crd_yaml()
    assert yaml.safe_load(text) == crd()
    assert text.startswith("# Generated")
    assert not re.search(r"[:-] [&*]id\d", text), "no YAML anchors"


def test_nothing_that_a_structural_schema_forbids():
    allowed = {
        "type",
        "description",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "default",
        "enum",
        "format",
        "nullable",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
    }
    for path, node in NODES.items():
        strange = {key for key in node if key not in allowed and not key.startswith("x-kubernetes-")}
        assert not strange, f"{path}: {strange}"
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), f"{path} has no type"


def test_everything_is_bounded_so_that_the_cost_of_cel_can_be_estimated():
    for path, node in NODES.items():
        match node.get("type"):
            case "array":
                assert "maxItems" in node, path
            case "object":
                assert "properties" in node or "maxProperties" in node, path
            case "string":
                assert node.keys() & {"maxLength", "enum", "format"}, path
            case "integer":
                assert "minimum" in node, path


def test_everything_is_described():
    for path, node in NODES.items():
        if not path.endswith(("[]", "{}")):
            text = node.get("description", "")
            assert re.fullmatch(r"[A-Z].*\.", text), f"{path}: {text!r}"
            assert "  " not in text, f"{path}: {text!r}"


def test_defaults_are_stored_only_where_a_column_shows_them():
    defaults = {path: node["default"] for path, node in NODES.items() if "default" in node}
    assert defaults == {
        ".spec.enforcement": {},
        ".spec.enforcement.action": "Audit",
        ".spec.enforcement.minimumEvidence": "catalogue",
    }


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column["name"])
def test_every_column_resolves_to_a_field(column: dict[str, Any]):
    path = re.sub(r"\[[^]]*\]", "[]", column["jsonPath"])
    if path == ".metadata.creationTimestamp":  # the API server's own
        return
    assert path in NODES, f"{column['jsonPath']} leads nowhere"
    if column["type"] == "integer":
        assert NODES[path]["type"] == "integer"
    named = re.search(r'@\.type=="(\w+)"', column["jsonPath"])
    if named:
        assert named[1] in NODES[".status.conditions"]["description"]


def test_one_line_tells_the_story():
    assert [column["name"] for column in COLUMNS if not column.get("priority")] == [
        "Action",
        "Governed",
        "Violating",
        "Per-Node",
        "Total",
        "In-Flight",
        "Compliant",
        "Age",
    ]


def test_conditions_merge_by_type():
    assert NODES[".status.conditions"]["x-kubernetes-list-type"] == "map"
    assert NODES[".status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]


def test_rules_are_the_same_everywhere():
    assert NODES[".spec.enforcement.rules[].name"]["enum"] == [*RULE_NAMES]
    assert NODES[".spec.exemptions[].rules[]"]["enum"] == ["*", *RULE_NAMES]


def test_a_model_that_contains_itself_is_refused():
    class Tree(ApiModel):
        children: tuple["Tree", ...] = ()

    class Forest(ApiModel):
        trees: tuple[Tree, ...] = ()

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    with pytest.raises(ValueError, match="Tree contains itself"):
        structural_schema(Forest)
