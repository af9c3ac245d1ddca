"""The README's commands and its Python are run as they stand, in order, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What a test machine lacks: the exit code and the words that must then be said.
LACKING = {
    "moase-edge export --backbone vit_b16": (1, "--checkpoint"),
    "moase-edge run --camera 0": (1, "camera"),
    "moase-edge run --source rtsp://NAME:PASSWORD@camera.lan/stream1": (
        1,
        "rtsp://***@camera.lan/stream1 cannot be",
    ),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("   #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("moase-edge ")]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(folder / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    (folder / "frames").mkdir()
    for index in range(4):
        picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        writer.write(picture)
        cv2.imwrite(str(folder / "frames" / f"{index}.jpg"), picture)
    writer.release()
    for name in ("car", "person", "bottle"):
        (folder / "my_frames" / name).mkdir(parents=True)
        for index in range(4):
            picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "my_frames" / name / f"{index}-{name}.jpg"), picture)
    torch.manual_seed(0)
    model = timm.create_model("deit_tiny_patch16_224", num_classes=3)
    save_file(model.state_dict(), folder / "my_deit.safetensors")
    (folder / "classes.txt").write_text("car\nperson\nbottle\n")
    return folder


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # No network in tests: a fetch of published weights must fail at once, whatever the machine can reach.
    return {**os.environ, "PATH": paths, "HF_HUB_OFFLINE": "1"}


def test_every_command_of_the_readme_runs_as_it_stands(sandbox: Path) -> None:
    assert len(commands()) >= 7
    for command in commands():
        done = subprocess.run(
            command, shell=True, cwd=sandbox, env=environment(), capture_output=True, text=True, check=False
        )
        code, words = LACKING.get(command, (0, ""))
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        assert words in done.stderr, command


def test_the_python_of_the_readme_runs_as_it_stands(sandbox: Path) -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sandbox, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_of_the_readme_lead_somewhere(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).exists()


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
