"""With ``aws`` alone, which brings nothing: an agent answers events."""

from __future__ import annotations

from encord_agents import FrameData
from encord_agents.aws import editor_agent


@editor_agent()
def agent(frame_data: FrameData) -> None: ...


if __name__ == "__main__":
    answer = agent({"version": "2.0", "headers": {}, "body": '{"projectHash": 1}'}, None)
    assert answer["statusCode"] == 400, answer
    assert "projectHash" in answer["body"], answer
