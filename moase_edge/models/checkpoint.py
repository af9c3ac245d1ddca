"""Weights from a file: read without unpickling code, un-nested, and fitted to a model."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
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
    if not path.is_file():
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
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        first_line = str(exc).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} holds more than weights, or is damaged, and was not unpickled: {first_line} "
            "Save its state dict alone, best as .safetensors."
        ) from exc
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as exc:
        raise CheckpointError(f"{path} is no whole PyTorch checkpoint: {exc}. Fetch it again.") from exc


def unnest(content: object, path: Path) -> dict[str, Tensor]:
    """Find the state dict inside the usual nesting and strip wrappers' prefixes from its names."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return without_prefix(content)
        nest = next((key for key in _NESTS if isinstance(content.get(key), Mapping)), None)
        if nest is None:
            break
        content = content[nest]
    raise CheckpointError(
        f"{path} holds no state dict: looked for tensors at the top and under {', '.join(_NESTS)}. "
        "Save `model.state_dict()`."
    )


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefixes that wrappers put before all of them."""
    names = dict(state)
    while prefix := next((p for p in _PREFIXES if names and all(n.startswith(p) for n in names)), None):
        names = {name[len(prefix) :]: tensor for name, tensor in names.items()}
    return names


def fit_checkpoint(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict that must fit exactly.

    Raises:
        CheckpointError: lists what is missing, of another shape, or not part of the model.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    other_shape = [
        f"{name} ({tuple(state[name].shape)}, the model has {tuple(tensor.shape)})"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = [
        *_fault("missing", missing),
        *_fault("of another shape", other_shape),
        *_fault("not part of the model", unknown),
    ]
    if faults:
        raise CheckpointError(
            f"{path} does not fit the model:\n" + "\n".join(faults) + "\nCheck --backbone, and --num-classes for "
            "another head."
        )
    non_finite = [n for n, t in state.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if non_finite:
        raise CheckpointError(f"{path} has values that are not finite in: {_some(non_finite)}. It cannot be used.")
    model.load_state_dict(dict(state))


def _fault(kind: str, names: list[str]) -> Iterable[str]:
    if names:
        yield f"  {len(names)} {kind}: {_some(names)}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def classes_in(state: Mapping[str, Any]) -> int | None:
    """Number of classes of a checkpoint's head; 0 where it has none, None where that cannot be told."""
    if not any(name.startswith("blocks.") for name in state):
        return None
    head = state.get("head.weight")
    return int(head.shape[0]) if head is not None and head.ndim == 2 else 0
