"""Caption images: a vision model's answer becomes a text classification."""

from __future__ import annotations

from typing import Annotated

from encord.objects import Classification, LabelRowV2
from hosted import ask_anthropic

from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()


@runner.stage("Caption")
def caption(label_row: LabelRowV2, image: Annotated[ImageArray, Depends(dep_single_frame)]) -> TaskAgentReturnStruct:
    question = OntologyDataModel(label_row.ontology_structure.get_child_by_title("Caption", Classification))
    parts = [
        Frame(0, image).b64_encoding(output_format="anthropic"),
        {"type": "text", "text": "Caption this image in one sentence."},
    ]
    question.read(ask_anthropic(parts, question.model_json_schema)).add_to(label_row, replace=True)
    return TaskAgentReturnStruct(pathway="done", label_row=label_row)


if __name__ == "__main__":
    runner.run()
