"""What an ontology lets labels say."""

from __future__ import annotations

from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, RadioAttribute, TextAttribute

from encord_agents.local.features import Attribute, features


def test_objects_classifications_and_their_attributes() -> None:
    """By hash; with the attributes that options ask for, too."""
    structure = OntologyStructure()
    cat = structure.add_object("Cat", Shape.POLYGON, feature_node_hash="cat")
    colour = cat.add_attribute(RadioAttribute, "Colour", feature_node_hash="colour")
    colour.add_option("grey", feature_node_hash="grey").add_nested_attribute(
        TextAttribute, "Which", feature_node_hash="which"
    )
    cat.add_attribute(ChecklistAttribute, "Seen", dynamic=True, feature_node_hash="seen").add_option(
        "tail", feature_node_hash="tail"
    )
    scene = structure.add_classification(feature_node_hash="scene")
    scene.add_attribute(TextAttribute, "What", feature_node_hash="what")
    found = features(structure.to_dict())
    assert {hash: feature.shape for hash, feature in found.items()} == {"cat": "polygon", "scene": None}
    assert found["cat"].attributes == {
        "colour": Attribute("radio", False, frozenset({"grey"})),
        "which": Attribute("text", False, frozenset()),
        "seen": Attribute("checklist", True, frozenset({"tail"})),
    }
