"""With ``gcp`` alone: the functions framework's server calls an agent."""

from __future__ import annotations

import functions_framework

from encord_agents import FrameData
from encord_agents.gcp import editor_agent


@functions_framework.http
@editor_agent()
def agent(frame_data: FrameData) -> None: ...


if __name__ == "__main__":
    client = functions_framework.create_app("agent", __file__).test_client()
    answer = client.post("/", json={"projectHash": 1})
    assert answer.status_code == 400, answer
    assert "projectHash" in answer.get_json()["message"], answer
    assert client.post("/", headers={"X-Encord-Editor-Agent": "test"}).status_code == 200
