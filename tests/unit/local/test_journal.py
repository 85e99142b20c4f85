"""The journal: what is kept of requests, and for how long."""

from __future__ import annotations

from encord_agents.local.journal import LONGEST_PATH, Journal


def test_the_latest_are_kept_and_all_are_counted() -> None:
    """In order, with the beginning of each body."""
    journal = Journal(limit=2, body_limit=3)
    for number, kind in enumerate(("rows", "save", "save")):
        journal.add(kind, "POST", f"/{number}", 200, 1, float(number), b"body")
    assert [entry.path for entry in journal] == ["/1", "/2"]
    assert [entry.body for entry in journal.of("save")] == ["bod", "bod"]
    assert (journal.count(), journal.count("save"), journal.count("none")) == (3, 2, 0)
    assert journal.kinds() == {"rows": 1, "save": 2}
    journal.clear()
    assert (len(journal), journal.count()) == (0, 0)


def test_a_sender_cannot_fill_the_memory() -> None:
    """A path is cut; bytes that are no text are kept as such."""
    journal = Journal()
    journal.add("x", "GET", "/" * (2 * LONGEST_PATH), 200, 0, 0.0, b"\xff")
    (entry,) = journal
    assert (len(entry.path), entry.body) == (LONGEST_PATH, "\ufffd")
