"""From what a user writes to the source that it names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path

from moase_edge.config.names import Pace
from moase_edge.config.source import SourceSettings
from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.camera import camera_node
from moase_edge.frames.child_process import ChildGrabber
from moase_edge.frames.images import ImagesSource, pictures_in
from moase_edge.frames.live import LiveSource
from moase_edge.frames.paced import PacedVideo
from moase_edge.frames.picture import PICTURE_SUFFIXES
from moase_edge.frames.redact import printable, redact, scheme_of
from moase_edge.frames.source import Source
from moase_edge.frames.video import VideoSource

_CAMERA = re.compile(r"(?:camera:|v4l2:|(?:v4l2:)?/dev/video)?([0-9]{1,4})")
_CSI = re.compile(r"csi:(?://)?([0-9]{1,2})")
_STREAM = re.compile(r"(?:rtsps?|https?|udp)://.+", re.IGNORECASE | re.DOTALL)
_SCHEMES_WITHOUT_SLASHES = frozenset({"camera", "csi", "v4l2", "rtsp", "rtsps", "http", "https", "udp"})
_VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"}
)


def open_source(uri: str, *, pace: Pace | None = None, settings: SourceSettings | None = None) -> Source:
    """Open the source that `uri` names, by the first form that fits.

    | form | source |
    |---|---|
    | `0`, `camera:0`, `/dev/video0`, `v4l2:/dev/video0` | that camera, live; a file is `./0` |
    | `csi://0` | that CSI camera of a Jetson, live |
    | `rtsp://`, `rtsps://`, `http://`, `https://`, `udp://` | that network stream, live |
    | a file with a picture's suffix | that picture |
    | any other file | a video |
    | a folder | its picture files sorted by name, without subfolders |
    | a pattern with `*`, `**`, `?` or `[...]` | the files that match, sorted by path, each tried as a picture |

    `~` stands for the home folder.

    Args:
        pace: `real` plays a video by its own clock; `full`, the default for files, as fast as it is taken.
        settings: how live sources are waited for and opened again.

    Raises:
        ConfigError: a form that is not accepted, a folder or pattern without files, or a pace that does not fit.
        SourceError: no such file, folder, camera or stream, or one that cannot be read.
    """
    source = _open_live(uri, settings or SourceSettings())
    return _with_pace(source if source is not None else _open_files(uri), pace)


def _open_live(uri: str, settings: SourceSettings) -> Source | None:
    address = _live_address(uri)
    if address is None:
        return None
    return LiveSource(address, lambda stopped: ChildGrabber(address, settings, stopped=stopped), settings)


def _live_address(uri: str) -> str | None:
    """The one form in which the reader of live sources knows this one; None for anything else.

    Raises:
        SourceError: there is no such camera.
    """
    if match := _CAMERA.fullmatch(uri) or _CAMERA.fullmatch(_behind_link(uri)):
        camera_node(index := int(match.group(1)))
        return f"camera:{index}"
    if match := _CSI.fullmatch(uri):
        return f"csi://{int(match.group(1))}"
    return uri if _STREAM.fullmatch(uri) else None


def _behind_link(uri: str) -> str:
    """The device that a stable name such as /dev/v4l/by-id/... leads to."""
    path = uri.removeprefix("v4l2:")
    return os.path.realpath(path) if path.startswith("/dev/") else ""


def _with_pace(source: Source, pace: Pace | None) -> Source:
    if pace == "real" and isinstance(source, VideoSource):
        return PacedVideo(source)
    if pace == "real" and not source.live:
        source.close()
        raise ConfigError(f"{source.name} is pictures, which have no clock; --pace real plays a video by its own.")
    if pace == "full" and source.live:
        source.close()
        raise ConfigError(f"{source.name} comes at its own pace, so --pace full has no meaning; leave it out.")
    return source


def _open_files(uri: str) -> Source:
    try:
        for opener in _FORMS.values():
            source = opener(uri)
            if source is not None:
                return source
    except OSError as exc:
        raise SourceError(f"cannot look up the source {redact(uri)!r}: {exc.strerror}") from exc
    accepted = "; ".join((*_LIVE_FORMS, *_FORMS))
    if not uri or _has_scheme(uri):
        raise ConfigError(f"cannot open the source {redact(uri)!r}; accepted are: {accepted}")
    raise SourceError(f"there is no file or folder {redact(uri)!r}; accepted are: {accepted}")


def _open_picture(uri: str) -> Source | None:
    path = Path(uri)
    if path.suffix.lower() not in PICTURE_SUFFIXES or not _expand(path).is_file():
        return None
    return ImagesSource([_expand(path)], name=uri)


def _open_folder(uri: str) -> Source | None:
    folder = _expand(Path(uri))
    if not uri or not folder.is_dir():
        return None
    pictures = pictures_in(folder)
    if not pictures:
        _refuse_folder_of_videos(folder)
    return ImagesSource(pictures, name=uri)


def _refuse_folder_of_videos(folder: Path) -> None:
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in _VIDEO_SUFFIXES)
    if videos:
        raise ConfigError(
            f"nothing to read: {printable(str(folder))} holds no picture, but {len(videos)} videos. Name one: "
            f"{printable(str(videos[0]))}"
        )


def _open_video(uri: str) -> Source | None:
    path = _expand(Path(uri))
    return VideoSource(path) if path.is_file() else None


def _open_pattern(uri: str) -> Source | None:
    if _has_scheme(uri) or not any(character in uri for character in "*?["):
        return None
    # Path.glob takes no absolute patterns
    matches = map(Path, glob.glob(str(_expand(Path(uri))), recursive=True))  # noqa: PTH207
    return ImagesSource(sorted(path for path in matches if path.is_file()), name=uri)


_LIVE_FORMS = (
    "a camera (0, camera:0, /dev/video0 or v4l2:/dev/video0)",
    "a Jetson's camera (csi://0)",
    "a stream (rtsp://, rtsps://, http://, https:// or udp://)",
)
# In this order: what exists under the very name goes before what the name may mean as a pattern.
_FORMS: dict[str, Callable[[str], Source | None]] = {
    "a picture file": _open_picture,
    "a folder of pictures": _open_folder,
    "a video file": _open_video,
    "a pattern such as 'frames/*.png'": _open_pattern,
}


def _expand(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~name of a user who does not exist: an ordinary name, then
        return path


def _has_scheme(uri: str) -> bool:
    scheme = scheme_of(uri)
    return scheme is not None and ("://" in uri or scheme in _SCHEMES_WITHOUT_SLASHES)
