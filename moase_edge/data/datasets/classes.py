"""Which class a folder of pictures stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moase_edge.errors import ConfigError


def classes_of_folders(
    root: Path, folders: Sequence[str], names: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...]]:
    """The class index of each class folder, and all classes' names.

    Where all folders bear names of the model's classes, these decide, so that a few classes of many will do.
    Otherwise the folders sorted by name are the classes, as ImageNet's are, and there must be as many.

    Args:
        root: for messages.
        folders: sorted by name.
        names: the model's classes; None takes the folders' names.

    Raises:
        ConfigError: fewer than two folders, or folders that do not fit the classes.
    """
    if len(folders) < 2:
        raise ConfigError(
            f"{root} has {len(folders)} class folder{'s' if len(folders) != 1 else ''}; expected a folder of "
            "pictures for each of at least two classes, or a labels.json that maps file names to class indices"
        )
    if names is None:
        return list(range(len(folders))), tuple(folders)
    places = {name: index for index, name in enumerate(names)}
    if len(places) == len(names) and all(folder in places for folder in folders):
        return [places[folder] for folder in folders], tuple(names)
    if len(folders) == len(names):
        return list(range(len(folders))), tuple(names)
    stranger = next((folder for folder in folders if folder not in places), folders[0])
    raise ConfigError(
        f"{root} has {len(folders)} class folders and the model {len(names)} classes, none of which is named "
        f"{stranger!r}; name each folder as its class, or give a labels.json that maps file names to class indices"
    )


def check_several_classes(root: Path, labels: Sequence[int]) -> None:
    """Refuse pictures that are all of one class: whoever always answers it would make no error.

    Raises:
        ConfigError: fewer than two classes.
    """
    found = sorted(set(labels))
    if len(found) < 2:
        raise ConfigError(
            f"all {len(labels)} pictures of {root} are of class {found[0] if found else 'none'}; "
            "expected pictures of at least two classes, or errors would say nothing"
        )
