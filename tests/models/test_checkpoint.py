from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from moase_edge.errors import CheckpointError
from moase_edge.models.checkpoint import classes_in, fit_checkpoint, read_checkpoint, without_prefix

STATE = {"blocks.0.weight": torch.arange(6.0).reshape(2, 3), "head.weight": torch.ones(4, 3)}


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


def refusal_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".tar", ""])
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"model": STATE},
        {"module": STATE},
        {"net": {"state_dict": STATE}},
        {"model_ema": {"module": STATE}, "model": {"blocks.0.weight": torch.zeros(1)}},
        {"model_ema": {}, "model": STATE},
        {"model_ema": None, "model": STATE},
        {"state_dict": prefixed("module.")},
        {"model": prefixed("_orig_mod.module.")},
        prefixed("module.model."),
        prefixed("backbone."),
    ],
)
def test_usual_nesting_and_prefixes_are_undone(tmp_path: Path, content: Any, suffix: str) -> None:
    torch.save(content, tmp_path / f"weights{suffix}")
    assert equal(read_checkpoint(tmp_path / f"weights{suffix}"), STATE)


def test_file_format_before_the_zip_is_read(tmp_path: Path) -> None:
    torch.save({"model": STATE}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert equal(read_checkpoint(tmp_path / "old.pth"), STATE)


def test_safetensors_are_read_and_prefixes_undone(tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / "weights.safetensors")
    assert equal(read_checkpoint(tmp_path / "weights.safetensors"), STATE)


def test_a_prefix_of_some_names_alone_stays() -> None:
    names = {"model.a": torch.zeros(1), "head.weight": torch.zeros(1)}
    assert without_prefix(names).keys() == names.keys()
    assert without_prefix({}) == {}


@pytest.mark.parametrize(
    "content",
    [
        *({}, [], 3, "text", {"epoch": 3}, {"model": {"model": {"model": {"model": STATE}}}}, [STATE]),
        {0: torch.zeros(1), 1: torch.ones(1)},
        {**STATE, 0: torch.zeros(1)},
    ],
)
def test_a_file_without_a_state_dict_says_where_one_was_looked_for(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pth")
    assert "looked for tensors at the top and under model_ema, " in refusal_of(tmp_path / "weights.pth")


class Dropper:
    """An object whose unpickling makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.place,)


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, form: str) -> None:
    sentinel, path = tmp_path / "ran", tmp_path / "weights.pth"
    content = {"model": STATE, "extra": Dropper(sentinel)}
    if form == "bare":
        path.write_bytes(pickle.dumps(content["extra"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    message = refusal_of(path)
    assert not sentinel.exists()
    assert "was not unpickled: it names " in message
    assert "weights_only" not in message, "advises to load it without the safeguard"
    pickle.loads(pickle.dumps(Dropper(sentinel)))
    assert sentinel.exists(), "the sentinel would not have shown it"


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    assert "it names torch.nn.modules.linear.Linear" in refusal_of(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"x", b"hello, this is text\n" * 9, b"\x00" * 100, b"\x80\x04."])
def test_files_of_something_else_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refusal_of(path)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_truncated_files_are_refused_wherever_they_end(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        path.write_bytes(save(STATE))
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=form == "zip")
    content = path.read_bytes()
    for length in range(0, len(content) - 1, max(len(content) // 60, 1)):
        path.write_bytes(content[:length])
        refusal_of(path)


@pytest.mark.parametrize("form", ["zip", "old"])
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path, form: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=form == "zip")
    content = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except CheckpointError:
            refused += 1
    assert refused > 100


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        assert "--checkpoint" in refusal_of(path)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert "File name too long" in refusal_of(tmp_path / ("a" * 300 + ".pth"))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_fitting_weights_are_loaded_and_half_precision_widened() -> None:
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights().items()}
    model = network()
    fit_checkpoint(model, state, Path("a.pth"))
    assert model.state_dict()["0.weight"].dtype == torch.float32
    assert equal(dict(model.state_dict()), {n: t.to(weights()[n].dtype) for n, t in state.items()})


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in network().state_dict().items()
    }


def misfit(changes: dict[str, Tensor | None]) -> str:
    merged = {name: tensor for name, tensor in {**weights(), **changes}.items() if tensor is not None}
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        fit_checkpoint(model, merged, Path("a.pth"))
    assert equal(dict(model.state_dict()), before), "a refused checkpoint changed the model"
    return str(caught.value)


def test_all_misfits_are_listed_together() -> None:
    message = misfit(
        {"0.weight": None, "0.bias": torch.zeros(7), "1.weight": torch.zeros(2).int(), "x": torch.zeros(1)}
    )
    assert message.splitlines()[:5] == [
        "a.pth does not fit the model:",
        "  1 missing: 0.weight",
        "  1 of another shape: 0.bias ((7,), the model has (2,))",
        "  1 of another type: 1.weight (torch.int32, the model has torch.float32)",
        "  1 not part of the model: x",
    ]
    assert "--num-classes" in message


def test_long_lists_are_cut() -> None:
    message = misfit({f"extra{index}": torch.zeros(1) for index in range(20)})
    assert "20 not part of the model: extra0, " in message
    assert "and 12 more" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_that_are_not_finite_in_single_precision_are_refused(value: float) -> None:
    message = misfit({"0.bias": torch.tensor([0.0, value], dtype=torch.float64)})
    assert "not finite in: 0.bias" in message


@pytest.mark.parametrize("tensor", [torch.ones(2).to_sparse(), torch.ones(2, device="meta")])
def test_weights_without_plain_values_are_refused(tensor: Tensor) -> None:
    assert "1 sparse or without values: 0.bias" in misfit({"0.bias": tensor})


def test_classes_are_read_from_the_head() -> None:
    assert classes_in(STATE) == 4
    assert classes_in({"blocks.0.weight": STATE["blocks.0.weight"]}) == 0
    assert classes_in({"head.weight": torch.ones(4, 3)}) is None, (
        "not a transformer: the model's own number stands"
    )


def test_a_folder_is_told_from_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder\. Name the \.safetensors"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "absent.safetensors")
