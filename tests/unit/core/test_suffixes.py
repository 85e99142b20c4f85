"""Suffixes of downloaded files: the name's own, where the type does not contradict it; the same on every machine."""

from __future__ import annotations

import mimetypes

import pytest

from encord_agents.core.suffixes import SUFFIXES, suffix_for


@pytest.mark.parametrize(
    ("mime_type", "name", "url", "suffix"),
    [
        ("video/x-matroska", "talk.mkv", "", ".mkv"),
        ("video/x-matroska", "UPPER.MKV", "", ".mkv"),
        ("audio/ogg", "voice.ogg", "", ".ogg"),
        ("application/gzip", "scan.nii.gz", "", ".nii.gz"),
        ("application/octet-stream", "scan.nii.gz", "", ".nii.gz"),
        (None, "scan.nii.gz", "", ".nii.gz"),
        (None, "all.tar.bz2", "", ".tar.bz2"),
        ("image/tiff", "slide.ome.tif", "", ".ome.tif"),
        ("audio/x-m4a", "memo", "", ".m4a"),
        ("text/plain", "log.md", "", ".md"),
        ("text/plain", "run.log", "", ".log"),
        ("text/plain", "data.csv", "", ".csv"),
        ("video/mpeg", "x.mpg", "", ".mpg"),
        ("text/html", "page.htm", "", ".htm"),
        ("image/jpeg", "pic.jpg", "", ".jpg"),
        ("video/mp4; codecs=avc1", "noext.mp4", "", ".mp4"),
        # contradictions
        ("image/jpeg", "x.png", "", ".jpeg"),
        ("text/plain", "x.png", "", ".txt"),
        ("video/mp4", "x.mkv", "", ".mp4"),
        # no suffix of its own
        ("video/mp4", "clip", "", ".mp4"),
        ("audio/mpeg", "", "", ".mp3"),
        ("application/dicom", "IM-0001", "", ".dcm"),
        ("image/png", "none", "https://h/a/b.png?x=1.y", ".png"),
        ("application/octet-stream", "v1.2 final", "https://h/a/b%2Fc.nii?x=1.y", ".nii"),
        (None, "none", "https://h/none", ""),
        (None, "none", "http://[::1", ""),
        ("image/png", "none", "http://[bad]/a.jpg", ".png"),
        ("application/x-never-heard-of", "model.onnx", "", ".onnx"),
        ("application/x-never-heard-of", "model", "", ""),
        (None, "../../.bashrc", "", ""),
        (None, "a.b/c", "", ""),
    ],
)
def test_suffixes(mime_type: str | None, name: str, url: str, suffix: str) -> None:
    """The name's own, or the URL's; else the type's."""
    assert suffix_for(mime_type, name, url) == suffix


def test_the_machine_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own table, which installed programs add to, is not asked."""
    monkeypatch.setattr(mimetypes, "guess_extension", lambda *_: ".wrong")
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_: ("wrong/wrong", None))
    assert [suffix_for(kind, "name") for kind in SUFFIXES] == [own[0] for own in SUFFIXES.values()]
