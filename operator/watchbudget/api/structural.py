"""From pydantic models to the structural schemas that CustomResourceDefinitions are made of.

pydantic's own JSON schema is not one: it has references, null types, titles and
additionalProperties beside properties.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

__all__ = ["structural_schema"]

_REFERENCE = "#/$defs/"


class _Structural(GenerateJsonSchema):
    """Optional means that the field may be left out, never that null is a value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        # Only a default that a field asks for (json_schema_extra) is stored in people's objects.
        return self.generate_inner(schema["schema"])

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return super().int_schema(schema) | {"format": "int64"}


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema: field docstrings as descriptions, references inlined, nothing a CRD refuses.

    Raises:
        ValueError: a model contains itself, which a structural schema cannot say.
    """
    raw = model.model_json_schema(schema_generator=_Structural, by_alias=True)
    return _clean(raw, raw.get("$defs", {}), ())


def _clean(schema: dict[str, Any], models: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
    if "$ref" in schema:
        name = cast("str", schema["$ref"]).removeprefix(_REFERENCE)
        if name in above:
            raise ValueError(f"{name} contains itself, a structural schema cannot")
        # What stands beside the reference is the field's and wins: its description, its default.
        schema, above = models[name] | schema, (*above, name)
    result: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "$ref" | "$defs" | "title" | "propertyNames":
                continue
            case "description":
                result[key] = " ".join(value.split())
            case "properties":
                result[key] = {name: _clean(each, models, above) for name, each in value.items()}
            case "items":
                result[key] = _clean(value, models, above)
            case "additionalProperties":
                if value is not False:  # the server prunes unknown fields by itself
                    result[key] = _clean(value, models, above)
            case _:
                result[key] = value
    return result
