"""Names of classes, from a file or of ImageNet-1k."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from moase_edge.errors import ConfigError

IMAGENET = Path("imagenet")
IMAGENET_CLASSES = 1000
_KEYS_SHOWN = 3


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """One name a class, from a text file (a line each) or JSON (a list, or an object from index to name).

    Where no file is called so, `imagenet` stands for the 1000 names of ImageNet-1k, in timm's words.

    Raises:
        ConfigError: unreadable, or not as many names as classes.
    """
    if path == IMAGENET and not path.exists():
        return _of_imagenet(classes)
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _from_json(text) if path.suffix.lower() == ".json" else _from_lines(text)
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as exc:
        raise ConfigError(
            f"cannot read labels from {path}: {exc}. Expected a line per class, a JSON list, or a JSON object "
            "from class index to name."
        ) from exc
    if len(names) != classes:
        raise ConfigError(f"{path} names {len(names)} classes, the model has {classes}. Give one name a class.")
    return names


def _from_lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _from_json(text: str) -> tuple[str, ...]:
    content = json.loads(text)
    if isinstance(content, dict):
        by_index = _by_index(content)
        content = [by_index[index] for index in range(len(by_index))]
    if not isinstance(content, list):
        raise ValueError(f"a JSON {type(content).__name__}")
    return tuple(_name_of(entry) for entry in content)


def _by_index(content: dict[str, object]) -> dict[int, object]:
    """A JSON object with its keys as numbers, which have to be 0, 1, 2 and so on."""
    try:
        by_index = {int(key): value for key, value in content.items()}
    except ValueError:
        by_index = {}
    if sorted(by_index) != list(range(len(content))):
        keys = ", ".join(repr(key) for key in list(content)[:_KEYS_SHOWN])
        more = ", ..." if len(content) > _KEYS_SHOWN else ""
        raise ValueError(f'its keys are {keys}{more}, not the class indices "0" to "{len(content) - 1}"')
    return by_index


def _of_imagenet(classes: int) -> tuple[str, ...]:
    if classes != IMAGENET_CLASSES:
        raise ConfigError(
            f"imagenet names {IMAGENET_CLASSES} classes, the model has {classes}. Give a file of its own names."
        )
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(index) for index in range(classes))


def _name_of(entry: object) -> str:
    """A plain name, or the last of ImageNet's pair [wordnet id, name]."""
    name = cast(list[object], entry)[-1] if isinstance(entry, list) else entry
    if not isinstance(name, (str, int)):
        raise ValueError(f"{name!r} is no name")
    return str(name)
