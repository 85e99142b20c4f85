"""Storage items: found, changed, marked."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform, LocalProject, items
from encord_agents.local.trouble import Refusal


def test_items(platform: LocalPlatform, project: LocalProject) -> None:
    """In the order asked for; one that is unknown, forbidden or elsewhere is refused for all."""
    database, record = platform._service.database, project._record
    with database.read() as connection:
        rows = {row["title"]: row["uuid"] for row in connection.execute("SELECT title, uuid FROM items")}
        (folder,) = connection.execute("SELECT uuid FROM folders").fetchone()
    wanted = [rows["c.png"], rows["a.png"]]
    assert [row["title"] for row in items.get(database, wanted)] == ["c.png", "a.png"]
    items.update(database, {rows["a.png"]: {"name": "new.png"}}, folder=folder)
    assert items.in_folder(database, folder, rows["a.png"])["title"] == "new.png"
    project.forbid_item(project.tasks()[2].data_hash)
    for call in (
        lambda: items.get(database, wanted),
        lambda: items.get(database, ["other"]),
        lambda: items.in_folder(database, "other", rows["a.png"]),
        lambda: items.update(database, {rows["a.png"]: {}}, folder="other"),
    ):
        with pytest.raises(Refusal) as caught:
            call()
        assert caught.value.status == 403
    assert items.mark(database, record, "other", "deleted", 1) is False
