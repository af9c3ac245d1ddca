"""MJPEG over HTTP: an endless answer of pictures, `multipart/x-mixed-replace`."""

from __future__ import annotations

import http.client
import urllib.request
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.newest import Producer
from moase_edge.frames.redact import redact
from moase_edge.frames.stream import StreamProducer

_MOST_LINE = 65_536
_MOST_PICTURE = 2**26  # bytes, compressed
_MOST_UNDECODED = 100  # in a row: whatever it sends, it is no pictures


class MjpegProducer:
    """Reads the parts of a multipart answer; a part that is no picture is passed over.

    OpenCV's FFmpeg reads such streams too, but holds back pictures while it guesses the format, and gives every
    picture the size of the first.

    Args:
        answer: the body.
        boundary: what stands between two parts, with or without its leading dashes: servers send either.
    """

    def __init__(self, answer: IO[bytes], boundary: str) -> None:
        self._answer = answer
        self._boundary = boundary.lstrip("-").encode("latin-1")
        self._at_header = False
        self._undecoded = 0

    def read(self) -> NDArray[Any] | None:
        """The next picture, in OpenCV's channel order; None for a part that cannot be decoded.

        Raises:
            SourceError: the answer ended, stopped half-way, or holds no pictures.
        """
        try:
            body = self._next_part()
        except (OSError, http.client.HTTPException, ValueError) as exc:  # ValueError: a chunk without a length
            raise SourceError(f"the connection was lost: {exc or type(exc).__name__}") from exc
        image = _decode(body)
        self._undecoded = 0 if image is not None else self._undecoded + 1
        if self._undecoded >= _MOST_UNDECODED:
            raise SourceError(f"none of the last {_MOST_UNDECODED} parts is a picture")
        return image

    def close(self) -> None:
        """Hang up."""
        self._answer.close()

    def _next_part(self) -> bytes:
        if not self._at_header:
            self._up_to_boundary()
        self._at_header = False
        length = self._length_in_header()
        if length is None:
            return self._up_to_boundary()
        body = self._answer.read(length)
        if len(body) < length:
            raise SourceError("the stream ended in the midst of a picture")
        return body

    def _up_to_boundary(self) -> bytes:
        """What stands before the next boundary, which is read too."""
        body = bytearray()
        while not self._is_boundary(line := self._line()):
            body += line
            if len(body) > _MOST_PICTURE:
                raise SourceError("it sends no boundary between pictures")
        self._at_header = True
        return bytes(body)

    def _is_boundary(self, line: bytes) -> bool:
        return line.startswith(b"--") and line.lstrip(b"-").startswith(self._boundary)

    def _length_in_header(self) -> int | None:
        """Read the part's header; its Content-Length, where it has one that can be true."""
        length = None
        while line := self._line().strip():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        return length if length is not None and length <= _MOST_PICTURE else None

    def _line(self) -> bytes:
        line = self._answer.readline(_MOST_LINE)
        if not line:
            raise SourceError("the stream ended")
        return line


def open_http(uri: str, settings: SourceSettings) -> Producer:
    """A stream over HTTP: of pictures one after the other, or of any kind that FFmpeg knows.

    Raises:
        SourceError: there is no such server, it refuses, or what it sends is no live stream.
    """
    try:
        answer = _ask(uri, settings.open_s)
    except HTTPError as exc:
        exc.close()
        raise SourceError(f"{redact(uri)} answered {exc.code} {exc.reason}{_HINTS.get(exc.code, '')}") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = exc.reason if isinstance(exc, URLError) else exc
        raise SourceError(f"{redact(uri)} cannot be reached: {reason or type(exc).__name__}") from exc
    boundary = answer.headers.get_boundary()
    if answer.headers.get_content_maintype() == "multipart" and boundary:
        return MjpegProducer(answer, boundary)
    answer.close()
    return StreamProducer(uri, settings)


_HINTS = {
    401: "; give name and password as http://NAME:PASSWORD@HOST/..., or check those that were given",
    403: "; that name may not see it",
    404: "; the camera's manual names the path of its MJPEG stream",
}


def _decode(body: bytes) -> NDArray[Any] | None:
    import cv2
    import numpy as np

    try:
        return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) if body else None
    except cv2.error:  # what claims to have more pixels than OpenCV takes
        return None


def _ask(uri: str, timeout_s: float) -> Any:
    """The answer to a request, with name and password in the way that the server asks for them."""
    parts, address = urlsplit(uri), _without_credentials(uri)
    try:
        return urllib.request.build_opener().open(address, timeout=timeout_s)
    except HTTPError as exc:
        if exc.code != 401 or parts.username is None:
            raise
        exc.close()
        challenge = (exc.headers.get("WWW-Authenticate") or "").lower()
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, address, unquote(parts.username), unquote(parts.password or ""))
    digest = challenge.startswith("digest")
    handler = urllib.request.HTTPDigestAuthHandler if digest else urllib.request.HTTPBasicAuthHandler
    return urllib.request.build_opener(handler(passwords)).open(address, timeout=timeout_s)


def _without_credentials(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
