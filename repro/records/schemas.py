"""JSON Schemas of record and export, and Frictionless table schemas of the CSVs, from the code's own types.

``python -m repro.records.schemas`` writes them anew into ``schema_files/``; a test says whether they are current.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from repro.config.options import Choice, Node, Option
from repro.config.schema import SPEC
from repro.records.files import atomic_write
from repro.records.shapes import EpochRow, ExportFile, LayerRow, RecordFile

FOLDER = Path(__file__).with_name("schema_files")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TABLE_PROFILE = "https://datapackage.org/profiles/2.0/tableschema.json"
JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its file."""
    record = TypeAdapter(RecordFile).json_schema()
    record["properties"]["spec"] = node_schema(SPEC)
    return {
        "record.schema.json": {"$schema": DIALECT, **record, "additionalProperties": False},
        "export.schema.json": {"$schema": DIALECT, **TypeAdapter(ExportFile).json_schema()},
        "epochs.tableschema.json": table_schema(EpochRow, ["epoch"]),
        "layers.tableschema.json": table_schema(LayerRow, ["epoch", "layer"]),
    }


def node_schema(node: Node) -> Schema:
    """A part of the configuration's schema as JSON Schema; what has a default may be absent."""
    if isinstance(node, Option):
        return _option_schema(node)
    if isinstance(node, Choice):
        return {"oneOf": [_section_schema({"name": name}, node.options(name)) for name in node.names]}
    return _section_schema({}, node.fields)


def _section_schema(constants: Mapping[str, str], fields: Mapping[str, Node]) -> Schema:
    return {
        "type": "object",
        "properties": {
            **{key: {"const": value} for key, value in constants.items()},
            **{key: node_schema(child) for key, child in fields.items()},
        },
        "required": [*constants, *(key for key, child in fields.items() if child.default is ...)],
        "additionalProperties": False,
    }


def _option_schema(option: Option) -> Schema:
    schema: Schema = {"type": JSON_TYPES[option.kind]}
    if option.choices:
        schema["enum"] = list(option.choices)
    if option.minimum is not None:
        schema["exclusiveMinimum" if option.above else "minimum"] = option.minimum
    if option.maximum is not None:
        schema["exclusiveMaximum" if option.below else "maximum"] = option.maximum
    if option.length:
        count = {"minItems": option.length, "maxItems": option.length} if option.length > 0 else {"minItems": 1}
        schema = {"type": "array", "items": schema, **count}
    return {"anyOf": [schema, {"type": "null"}]} if option.nullable else schema


def table_schema(row: type, key: list[str]) -> Schema:
    """A row's type as a Frictionless table schema; ``key`` are its primary key's columns."""
    fields = []
    for name, schema in TypeAdapter(row).json_schema()["properties"].items():
        options = schema.get("anyOf", [schema])
        (typed,) = (option for option in options if option["type"] != "null")
        limits = {limit: typed[limit] for limit in ("minimum", "maximum") if limit in typed}
        constraints = {"required": len(options) == 1, **limits}
        fields.append({"name": name, "type": typed["type"], "constraints": constraints})
    return {"$schema": TABLE_PROFILE, "fields": fields, "missingValues": [""], "primaryKey": key}


def as_text(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    for file, content in schemas().items():
        atomic_write(FOLDER / file, as_text(content))
        print(FOLDER / file)
