"""Items that consist of others: their facts, and the video of a sequence."""

from __future__ import annotations

import io

import av
import pytest

from encord_agents.local import LocalPlatform, LocalProject, folders, sequences
from encord_agents.local.folders import Search
from encord_agents.local.trouble import Refusal


@pytest.mark.parametrize("kind", ["imageGroup", "dicomSeries", "imageSequence"])
def test_a_group(platform: LocalPlatform, project: LocalProject, kind: str) -> None:
    """It is as large as its first member; only a sequence has a file, with a frame for each picture."""
    service = platform._service
    uuids = [row["uuid"] for row in folders.find_items(service.database, Search())]
    unit = sequences.group(service.database, service.assets, kind, "group", uuids, 3)
    assert (unit.title, unit.item_type, unit.width, unit.height, unit.frames) == ("group", kind, 64, 48, 3)
    content = service.assets.get(unit.digest) if unit.digest else None
    assert (content is not None) is (kind == "imageSequence")
    if isinstance(content, bytes):
        with av.open(io.BytesIO(content)) as film:
            assert sum(1 for _ in film.decode(video=0)) == 3
    with pytest.raises(Refusal):
        sequences.group(service.database, service.assets, kind, "group", ["other"], 1)
