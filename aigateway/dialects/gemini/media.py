"""Files in a Gemini client's parts: base64 with a media type, or where Google may find them."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import urlsplit

from ...events import AudioBlock, DocumentBlock, ImageBlock, OtherBlock, RequestBlock
from .. import fields
from . import shapes

# What OpenAI and others call the formats of sound.
_AUDIO = {"mpeg": "mp3", "mpga": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-flac": "flac"}
_FILES_API = "generativelanguage.googleapis.com"
_URL_SAFE = str.maketrans("-_", "+/")


def inline_block(blob: shapes.Blob, place: str) -> RequestBlock:
    """The file in ``blob``; Google takes both alphabets of base64, others only the first."""
    kind, _, subtype = blob.mimeType.partition(";")[0].strip().lower().partition("/")
    data = blob.data.translate(_URL_SAFE) if "-" in blob.data or "_" in blob.data else blob.data
    data += "=" * (-len(data) % 4)
    media_type = f"{kind}/{subtype}"
    if kind == "image":
        return ImageBlock("image/jpeg" if subtype == "jpg" else media_type, data)
    if kind == "audio":
        return AudioBlock(data, _AUDIO.get(subtype, subtype))
    if media_type == "application/pdf":
        return DocumentBlock(media_type, data, title=blob.displayName)
    if kind == "text" or media_type == "application/json":
        try:
            return DocumentBlock(media_type, text=b64decode(data).decode(), title=blob.displayName)
        except ValueError:
            raise fields.wrong(f"{place}.data", "expected text in UTF-8, as base64") from None
    return OtherBlock(f"inlineData.{kind}")


def file_block(file: shapes.FileData) -> RequestBlock:
    """The file that ``file`` names. One in a store of Google's can be read by nobody else."""
    try:
        url = urlsplit(file.fileUri)
    except ValueError:
        return OtherBlock("fileData.file_id")
    if url.scheme not in ("http", "https") or url.netloc == _FILES_API:
        return OtherBlock("fileData.file_id")
    kind = (file.mimeType or "").partition("/")[0].lower()
    if kind == "image":
        return ImageBlock(file.mimeType, url=file.fileUri)
    if file.mimeType == "application/pdf":
        return DocumentBlock(file.mimeType, url=file.fileUri)
    return OtherBlock(f"fileData.{kind or 'fileUri'}")
