"""Classify images or videos by the whole ontology; what cannot be told goes to a person."""

from __future__ import annotations

from typing import Annotated

from encord.objects import LabelRowV2
from hosted import ask_openai
from pydantic import ValidationError

from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()


@runner.stage("Classify", failure_pathway="a person", give_up_on=(ValidationError,))
def classify(label_row: LabelRowV2, image: Annotated[ImageArray, Depends(dep_single_frame)]) -> TaskAgentReturnStruct:
    question = OntologyDataModel(label_row.ontology_structure.classifications)
    parts = [
        {"type": "text", "text": "Classify this image."},
        Frame(0, image).b64_encoding(output_format="openai"),
    ]
    question.read(ask_openai(parts, question.model_json_schema)).add_to(label_row, replace=True)
    return TaskAgentReturnStruct(pathway="done", label_row=label_row)


if __name__ == "__main__":
    runner.run()
