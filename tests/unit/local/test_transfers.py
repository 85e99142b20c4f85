"""The rest of a file, for clients that have its beginning."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from encord_agents.local.transfers import _part

TAG = '"digest"'


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({}, 0),
        ({"range": "bytes=4-"}, 4),
        ({"range": "bytes=4-", "if-range": TAG}, 4),
        ({"range": "bytes=4-", "if-range": '"other"'}, 0),
        ({"range": "bytes=0-"}, 0),
        ({"range": "bytes=10-"}, 0),
        ({"range": "bytes=4-6"}, 0),
        ({"range": "bytes=-4"}, 0),
        ({"range": "bytes=4-,6-"}, 0),
        ({"range": "bytes=" + "9" * 40 + "-"}, 0),
    ],
)
def test_where_to_begin(headers: dict[str, str], start: int) -> None:
    """Where the client's part ends, if it is of this very file; everything else gets the whole."""
    request = Request({"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]})
    found, status, said = _part(request, TAG, 10)
    assert (found, status) == (start, 206 if start else 200)
    assert said["ETag"] == TAG
    assert said.get("Content-Range") == (f"bytes {start}-9/10" if start else None)
