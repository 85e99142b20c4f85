"""Transcribe sound: a model that listens, and its text as a classification of the file."""

from __future__ import annotations

from typing import Annotated

from encord.objects import Classification, LabelRowV2
from hosted import ask_openai

from encord_agents.core.audio import Sound
from encord_agents.core.messages import file_part
from encord_agents.core.ontology import OntologyDataModel
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_audio
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()


@runner.stage("Transcribe")
def transcribe(label_row: LabelRowV2, sound: Annotated[Sound, Depends(dep_audio)]) -> TaskAgentReturnStruct:
    question = OntologyDataModel(label_row.ontology_structure.get_child_by_title("Transcript", Classification))
    parts = [
        {"type": "text", "text": f"Transcribe this, as JSON with the schema {question.model_json_schema_str}"},
        file_part(sound.wav(), "audio/wav", "openai"),
    ]
    question.read(ask_openai(parts)).add_to(label_row, replace=True)
    return TaskAgentReturnStruct(pathway="done", label_row=label_row)


if __name__ == "__main__":
    runner.run()
