"""The schema of metadata, as the newer and the older request have it."""

from __future__ import annotations

from typing import Any

import pytest
from encord.metadata_schema import MetadataSchemaScalarType
from tests.unit.local.asking import refused

from encord_agents.local import LocalPlatform, metadata_schemas


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_schema_in_the_words_of_both_requests(local_platform: LocalPlatform) -> None:
    """The SDK reads by either what it saved by the other; deleted keys are only in the newer one."""
    client = local_platform.client()
    schema = client.metadata_schema()
    for kind in MetadataSchemaScalarType:
        schema.add_scalar(kind.value, data_type=kind)
    schema.add_enum("enum", values=["a", "b"])
    schema.add_embedding("embedding", size=3)
    schema.add_geospatial("geospatial")
    schema.add_scalar("gone", data_type="text")
    schema.delete_key("gone")
    schema.save()
    found = client.get_client_metadata_schema()
    plain = {name: name for name in ("boolean", "datetime", "number", "enum", "embedding", "geospatial")}
    assert found == plain | {"uuid": "string", "varchar": "string", "text": "long_string"}
    client.set_client_metadata_schema_from_dict({name: found[name] for name in ("text", "varchar", "geospatial")})
    again = client.metadata_schema()
    kinds = {key: again.get_key_type(key) for key in again.keys()}  # noqa: SIM118 -- it is no mapping
    assert kinds == {name: name for name in ("text", "varchar", "geospatial")}


@pytest.mark.parametrize(
    "given", [3, None, [], "x", {}, {"hint": "text"}, {"ty": "x"}, {"ty": []}, {"ty": "variant", "hint": 3}, "enum"]
)
def test_a_type_that_is_none(given: Any) -> None:
    """It is refused, as is a bare name where the type needs values or a size."""
    with refused(400):
        metadata_schemas.check({"key": given})
