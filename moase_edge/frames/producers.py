"""The live sources by their scheme, as the reading process opens them."""

from __future__ import annotations

from collections.abc import Callable

from moase_edge.config.source import SourceSettings
from moase_edge.errors import ConfigError
from moase_edge.frames.camera import open_camera
from moase_edge.frames.csi import open_csi
from moase_edge.frames.mjpeg import open_http
from moase_edge.frames.newest import Producer
from moase_edge.frames.redact import redact, scheme_of
from moase_edge.frames.stream import StreamProducer


def open_producer(uri: str, settings: SourceSettings) -> Producer:
    """Open the camera or stream that `uri` names; blocks until it is open or cannot be.

    Raises:
        ConfigError: no such scheme.
        SourceError: there is no such source, it refuses, or it is no stream of pictures.
    """
    opener = PRODUCERS.get(scheme_of(uri) or "")
    if opener is None:
        raise ConfigError(f"{redact(uri)!r} names no live source; expected one of {', '.join(PRODUCERS)}")
    return opener(uri, settings)


def _open_camera(uri: str, _settings: SourceSettings) -> Producer:
    return open_camera(int(uri.partition(":")[2]))


PRODUCERS: dict[str, Callable[[str, SourceSettings], Producer]] = {
    "camera": _open_camera,
    "csi": open_csi,
    "rtsp": StreamProducer,
    "rtsps": StreamProducer,
    "udp": StreamProducer,
    "http": open_http,
    "https": open_http,
}
