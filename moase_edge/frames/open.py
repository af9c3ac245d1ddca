"""From what a user writes to the source that it names."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path

from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.camera import open_camera
from moase_edge.frames.images import ImagesSource, pictures_in
from moase_edge.frames.picture import PICTURE_SUFFIXES
from moase_edge.frames.redact import printable, redact, scheme_of
from moase_edge.frames.source import Source
from moase_edge.frames.video import VideoSource

_CAMERA = re.compile(r"(?:camera:|/dev/video)?([0-9]{1,4})")
_NETWORK_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "http", "https", "udp", "rtp", "tcp", "srt"})
_SCHEMES_WITHOUT_SLASHES = frozenset({"camera", "csi", "v4l2", *_NETWORK_SCHEMES})
_VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"}
)


def open_source(uri: str) -> Source:
    """Open the source that `uri` names, by the first form that fits.

    | form | source |
    |---|---|
    | `0`, `camera:0`, `/dev/video0` | that camera, live (a file of that name is written `./0`) |
    | a file with a picture's suffix | that picture |
    | any other file | a video |
    | a folder | its picture files sorted by name, without subfolders |
    | a pattern with `*`, `**`, `?` or `[...]` | the files that match, sorted by path, each tried as a picture |

    `~` stands for the home folder.

    Raises:
        ConfigError: a form that is not accepted, or a folder or pattern without files.
        SourceError: no such file, folder or camera, or one that cannot be read.
    """
    try:
        for opener in _FORMS.values():
            source = opener(uri)
            if source is not None:
                return source
    except OSError as exc:
        raise SourceError(f"cannot look up the source {redact(uri)!r}: {exc.strerror}") from exc
    if scheme_of(uri) in _NETWORK_SCHEMES:
        raise ConfigError(
            f"network streams are not supported yet, so {redact(uri)!r} cannot be opened; accepted are: "
            f"{'; '.join(_FORMS)}"
        )
    if not uri or _has_scheme(uri):
        raise ConfigError(f"cannot open the source {redact(uri)!r}; accepted are: {'; '.join(_FORMS)}")
    raise SourceError(f"there is no file or folder {redact(uri)!r}; accepted are: {'; '.join(_FORMS)}")


def _open_camera(uri: str) -> Source | None:
    match = _CAMERA.fullmatch(uri)
    return open_camera(int(match.group(1))) if match else None


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
            f"nothing to run: {printable(str(folder))} holds no picture, but {len(videos)} videos. Name one: "
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


# In this order: what exists under the very name goes before what the name may mean as a pattern.
_FORMS: dict[str, Callable[[str], Source | None]] = {
    "a camera (0, camera:0 or /dev/video0)": _open_camera,
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
