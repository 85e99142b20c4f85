"""The suffix of a downloaded file's name, by which libraries recognise a file's type."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["suffix_for"]

# A table of our own, since the system's table, which `mimetypes` reads, differs from machine to machine. The first
# suffix of a type is used for files whose name has no suffix, or one of another type.
SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "application/dicom": (".dcm", ".dicom", ".ima"),
    "application/gzip": (".gz", ".tgz"),
    "application/json": (".json", ".geojson", ".ndjson", ".jsonl"),
    "application/msword": (".doc",),
    "application/pdf": (".pdf",),
    "application/vnd.ms-excel": (".xls",),
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": (".pptx",),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (".xlsx",),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": (".docx",),
    "application/xml": (".xml",),
    "application/zip": (".zip",),
    "audio/aac": (".aac",),
    "audio/aiff": (".aiff", ".aif"),
    "audio/flac": (".flac",),
    "audio/mp4": (".m4a", ".mp4", ".m4b"),
    "audio/mpeg": (".mp3", ".mp2", ".mpga"),
    "audio/ogg": (".ogg", ".oga", ".opus", ".spx"),
    "audio/opus": (".opus", ".ogg"),
    "audio/wav": (".wav", ".wave"),
    "audio/webm": (".webm", ".weba"),
    "image/apng": (".apng", ".png"),
    "image/avif": (".avif",),
    "image/bmp": (".bmp", ".dib"),
    "image/gif": (".gif",),
    "image/heic": (".heic", ".heif"),
    "image/heif": (".heif", ".heic"),
    "image/jp2": (".jp2", ".j2k", ".jpf", ".jpx"),
    "image/jpeg": (".jpeg", ".jpg", ".jfif", ".jpe", ".mpo"),
    "image/png": (".png", ".apng"),
    "image/svg+xml": (".svg",),
    "image/tiff": (
        ".tiff",
        ".tif",
        ".svs",
        ".ndpi",
        ".scn",
        ".bif",
        ".btf",
        ".tf8",
        ".lsm",
        ".gtiff",
        ".geotiff",
        ".dng",
    ),
    "image/vnd.microsoft.icon": (".ico",),
    "image/webp": (".webp",),
    "text/csv": (".csv",),
    "text/html": (".html", ".htm", ".xhtml"),
    "text/markdown": (".md", ".markdown"),
    "text/plain": (".txt",),
    "text/xml": (".xml",),
    "video/3gpp": (".3gp", ".3gpp"),
    "video/mp2t": (".ts", ".m2ts", ".mts"),
    "video/mp4": (".mp4", ".m4v", ".mp4v", ".mov"),
    "video/mpeg": (".mpeg", ".mpg", ".mpe", ".m1v", ".m2v", ".vob"),
    "video/ogg": (".ogv", ".ogg"),
    "video/quicktime": (".mov", ".qt", ".mp4"),
    "video/webm": (".webm",),
    "video/x-flv": (".flv",),
    "video/x-m4v": (".m4v", ".mp4"),
    "video/x-matroska": (".mkv", ".mk3d", ".mka"),
    "video/x-ms-wmv": (".wmv", ".asf"),
    "video/x-msvideo": (".avi",),
}

OTHER_NAMES: Final = {
    "application/x-gzip": "application/gzip",
    "application/x-zip-compressed": "application/zip",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/tif": "image/tiff",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "video/avi": "video/x-msvideo",
    "video/x-mkv": "video/x-matroska",
}

SAYS_NOTHING: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})

COMPRESSIONS: Final = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".z"})
TWO_PARTS: Final = frozenset({".ome.tif", ".ome.tiff", ".ome.zarr", ".seg.nrrd"})

KNOWN: Final = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def suffix_for(mime_type: str | None, name: str, url: str = "") -> str:
    """Return the suffix of a file's name, dot included, in lower case; may be empty. The same on every machine.

    It is the name's own (``.nii.gz`` is one), or the URL's, unless the MIME type contradicts it. In that case, or if
    there is none, it is the type's. A type in the table contradicts all suffixes that it does not list, except that
    plain text may be any kind of text. A type that is not in the table contradicts nothing.
    """
    plain = (mime_type or "").partition(";")[0].strip().lower()
    plain = OTHER_NAMES.get(plain, plain)
    own = _suffix_of(name) or _suffix_of(_name_in(url))
    if plain in SAYS_NOTHING or plain not in SUFFIXES:
        return own
    if own and _agree(own, plain):
        return own
    return SUFFIXES[plain][0]


def _agree(suffix: str, mime_type: str) -> bool:
    of_type = SUFFIXES[mime_type]
    last = "." + suffix.rpartition(".")[2]
    if suffix in of_type or last in of_type:
        return True
    if mime_type == "text/plain":
        texts = {s for kind, suffixes in SUFFIXES.items() if kind.startswith("text/") for s in suffixes}
        return last not in KNOWN or last in texts or last in SUFFIXES["application/json"]
    return False


def _name_in(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:  # brackets without an address in them: the request for the file will say so
        return ""


def _suffix_of(name: str) -> str:
    """Return the suffix of a name; for a compressed file, ``.gz`` together with the suffix before it."""
    path = PurePosixPath(name)
    last = path.suffix.lower()
    if not (1 < len(last) <= 12 and last[1:].isalnum()):
        return ""
    before = PurePosixPath(path.stem).suffix.lower()
    if before[1:].isalnum() and len(before) <= 8 and (before + last in TWO_PARTS or last in COMPRESSIONS):
        return before + last
    return last
