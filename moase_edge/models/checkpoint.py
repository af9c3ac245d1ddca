"""Weights from a file: read without unpickling code, un-nested, and fitted to a model."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moase_edge.errors import CheckpointError

# The keys under which training scripts nest a state dict, the averaged weights first: they score best.
_NESTS = ("model_ema", "state_dict_ema", "state_dict", "model", "module", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
_NAMES_SHOWN = 8


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors file or in a .pth/.pt/.bin file of weights only.

    Raises:
        CheckpointError: no such file, damaged, truncated, or one that would run code when unpickled.
    """
    try:
        there, is_folder = path.is_file(), path.is_dir()
    except OSError as exc:
        raise CheckpointError(
            f"cannot look for the checkpoint {path}: {exc.strerror}. Name another file."
        ) from exc
    if is_folder:
        raise CheckpointError(f"{path} is a folder. Name the .safetensors or .pth file in it with --checkpoint.")
    if not there:
        raise CheckpointError(f"no checkpoint at {path}. Name a .safetensors or .pth file with --checkpoint.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return unnest(_read_pickle(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return without_prefix(load_file(path))
    except (SafetensorError, OSError, ValueError) as exc:
        raise CheckpointError(
            f"{path} is no whole safetensors file: {exc}. It may be truncated; fetch it again."
        ) from exc


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the format of a file that is damaged anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        # PyTorch's own message advises to load the file without the safeguard.
        named = re.search(r"GLOBAL (\S+)", str(exc))
        what = f"it names {named[1]}" if named else "it is damaged or no checkpoint at all"
        raise CheckpointError(
            f"{path} is not a file of weights alone and was not unpickled: {what}. "
            "Save its state dict alone, best as .safetensors, or fetch it again."
        ) from exc
    except Exception as exc:  # a damaged file makes PyTorch raise anything, from EOFError to IndexError
        reason = f"{type(exc).__name__}: {exc}".splitlines()[0].removesuffix(": ")
        raise CheckpointError(f"{path} is no whole PyTorch checkpoint ({reason}). Fetch it again.") from exc


def unnest(content: object, path: Path) -> dict[str, Tensor]:
    """Find the state dict inside the usual nesting and strip wrappers' prefixes from its names."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if _is_state_dict(content):
            return without_prefix(content)
        nest = next((key for key in _NESTS if isinstance(content.get(key), Mapping) and content[key]), None)
        if nest is None:
            break
        content = content[nest]
    raise CheckpointError(
        f"{path} holds no state dict: looked for tensors at the top and under {', '.join(_NESTS)}. "
        "Save `model.state_dict()`."
    )


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    pairs = content.items()
    return bool(content) and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in pairs)


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefixes that wrappers put before all of them."""
    names = dict(state)
    while prefix := next((p for p in _PREFIXES if names and all(n.startswith(p) for n in names)), None):
        names = {name[len(prefix) :]: tensor for name, tensor in names.items()}
    return names


def fit_checkpoint(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict that must fit exactly; half precision is widened.

    Raises:
        CheckpointError: lists what is missing, of another shape or type, not part of the model, or not finite.
    """
    expected = model.state_dict()
    faults = list(_misfits(expected, state))
    if faults:
        raise CheckpointError(
            f"{path} does not fit the model:\n" + "\n".join(faults) + "\nCheck --backbone, and --num-classes for "
            "another head."
        )
    non_finite = [n for n, t in expected.items() if not bool(torch.isfinite(state[n].to(t.dtype)).all())]
    if non_finite:
        raise CheckpointError(f"{path} has values that are not finite in: {_some(non_finite)}. It cannot be used.")
    model.load_state_dict(dict(state))


def _misfits(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[str]:
    """A line for each kind of difference between the weights that are expected and those there are."""
    pairs = [(name, state[name], tensor) for name, tensor in expected.items() if name in state]
    kinds = {
        "missing": [name for name in expected if name not in state],
        "of another shape": [
            f"{name} ({tuple(found.shape)}, the model has {tuple(wanted.shape)})"
            for name, found, wanted in pairs
            if found.shape != wanted.shape
        ],
        "of another type": [
            f"{name} ({found.dtype}, the model has {wanted.dtype})"
            for name, found, wanted in pairs
            if found.is_floating_point() != wanted.is_floating_point()
        ],
        "sparse or without values": [
            name for name, found, _ in pairs if found.layout != torch.strided or found.device.type == "meta"
        ],
        "not part of the model": [name for name in state if name not in expected],
    }
    return (f"  {len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def classes_in(state: Mapping[str, Any]) -> int | None:
    """Number of classes of a checkpoint's head; 0 where it has none, None where that cannot be told."""
    if not any(name.startswith("blocks.") for name in state):
        return None
    head = state.get("head.weight")
    return int(head.shape[0]) if head is not None and head.ndim == 2 else 0
