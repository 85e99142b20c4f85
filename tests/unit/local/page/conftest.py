"""The tools of the page's handlers, without a server around them."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform
from encord_agents.local.page.pages import Pages

NOW = 100.0
"""The journal's clock, which stands."""


@pytest.fixture
def pages(platform: LocalPlatform) -> Pages:
    return Pages(platform._service, platform.journal, lambda: NOW)
