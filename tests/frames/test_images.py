from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.images import ImagesSource, pictures_in
from moase_edge.frames.picture import decode_picture


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def flat(mode: str, colour: object, size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def palette_picture() -> Image.Image:
    picture = flat("P", 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    return picture


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


@pytest.mark.parametrize(
    ("name", "picture", "expected"),
    [
        ("bilevel.png", flat("1", 1), (255, 255, 255)),
        ("grey.png", flat("L", 7), (7, 7, 7)),
        ("grey_alpha.png", flat("LA", (7, 0)), (7, 7, 7)),
        ("grey_16.png", flat("I;16", 0x1234), (0x12, 0x12, 0x12)),
        ("grey_16.tiff", flat("I;16", 0xFFFF), (255, 255, 255)),
        ("palette.png", palette_picture(), (10, 20, 30)),
        ("alpha.png", flat("RGBA", (10, 20, 30, 0)), (10, 20, 30)),
        ("cmyk.tiff", flat("CMYK", (0, 255, 255, 0)), (255, 0, 0)),
    ],
)
def test_other_modes_become_rgb_bytes_and_count_as_converted(
    tmp_path: Path, name: str, picture: Image.Image, expected: tuple[int, int, int]
) -> None:
    image, converted = decode_picture(save(tmp_path / name, picture))
    assert converted
    assert image.dtype == np.uint8
    assert image.shape == (4, 6, 3)
    assert image.flags["C_CONTIGUOUS"]
    assert (image == np.array(expected, np.uint8)).all()


def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "palette.png", palette_picture(), transparency=bytes([255, 0]))
    image, converted = decode_picture(path)
    assert converted
    assert (image == (10, 20, 30)).all()


def test_an_rgb_picture_is_kept_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    image, converted = decode_picture(save(tmp_path / "a.png", Image.fromarray(pixels)))
    assert not converted
    assert (image == pixels).all()
    image[0, 0] = 0  # owned by the caller, hence writeable


def test_a_picture_is_turned_upright_by_its_exif_orientation(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees: the left half comes to the top
    image, converted = decode_picture(save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif))
    assert not converted
    assert image.shape == (32, 16, 3)
    assert (image[:16] == 255).all()
    assert (image[16:] == 0).all()


def test_a_32_bit_picture_within_16_bits_is_read_and_one_beyond_is_refused(tmp_path: Path) -> None:
    image, _ = decode_picture(save(tmp_path / "a.tiff", flat("I", 0x0300)))
    assert (image == 3).all()
    with pytest.raises(SourceError, match="65536"):
        decode_picture(save(tmp_path / "b.tiff", flat("I", 65536)))


@pytest.mark.parametrize("name", ["float.tiff", "text.jpg", "empty.png", "cut.jpg", "vector.eps", "folder.png"])
def test_what_cannot_be_decoded_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "float.tiff":
        save(path, flat("F", 0.5))
    elif name == "cut.jpg":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cut(save(path, Image.fromarray(noise)), 0.6)
    elif name == "vector.eps":
        save(path, flat("RGB", "red"))
    elif name == "folder.png":
        path.mkdir()
    else:
        path.write_text("no picture" if name == "text.jpg" else "")
    with pytest.raises(SourceError, match=f"{name} cannot be decoded"):
        decode_picture(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "bomb.png", flat("RGB", "red", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SourceError, match="DecompressionBombError"):
        decode_picture(path)


def test_frames_come_in_order_with_index_name_and_capture_time(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{level}.png", flat("RGB", (level, 0, 0))) for level in (9, 5, 7)]
    ticks = iter([100, 200, 300])
    with ImagesSource(paths, name="some pictures", clock_ns=lambda: next(ticks)) as source:
        assert (source.name, source.live, source.length) == ("some pictures", False, 3)
        frames = list(source.frames())
    assert [frame.image[0, 0, 0] for frame in frames] == [9, 5, 7]
    assert [(frame.index, frame.name, frame.captured_ns) for frame in frames] == [
        (0, "9.png", 100),
        (1, "5.png", 200),
        (2, "7.png", 300),
    ]


def test_damaged_files_are_skipped_logged_and_counted_and_leave_a_gap_in_the_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [
        save(tmp_path / "a.png", flat("RGB", "red", (6, 4))),
        tmp_path / "b.jpg",
        save(tmp_path / "c.png", flat("L", 3, (4, 6))),
        tmp_path / "gone.png",
        save(tmp_path / "d.png", flat("RGB", "red", (4, 6))),
    ]
    paths[1].write_text("no picture")
    source = ImagesSource(paths, name="x")
    with caplog.at_level(logging.WARNING):
        assert [frame.index for frame in source.frames()] == [0, 2, 4]
    counts = source.counts
    assert (counts.delivered, counts.skipped, counts.converted, counts.resized) == (3, 2, 1, 1)
    assert ["b.jpg" in record.message for record in caplog.records] == [True, False]


def test_files_of_which_none_is_a_picture_end_in_an_error_that_counts_them(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for path in paths:
        path.write_text("no picture")
    with pytest.raises(SourceError, match=r"my pictures: none of 2 files"):
        list(ImagesSource(paths, name="my pictures").frames())


def test_no_files_at_all_is_nothing_to_run() -> None:
    with pytest.raises(ConfigError, match=r"nothing to read: .*empty"):
        ImagesSource([], name="empty")


def test_a_second_pass_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", flat("RGB", "red")) for i in range(3)]
    source = ImagesSource(paths, name="x")
    assert next(source.frames()).index == 0
    assert [frame.index for frame in source.frames()] == [1, 2]


def test_closing_ends_the_frames(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", flat("RGB", "red")) for i in range(3)]
    source = ImagesSource(paths, name="x")
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_a_folder_gives_its_visible_pictures_sorted_by_name_without_subfolders(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "10.tif", "9.bmp", ".hidden.png", "notes.txt", "clip.mp4", "sub.png/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in pictures_in(tmp_path)] == ["10.tif", "9.bmp", "a.jpeg", "b.PNG"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        pictures_in(tmp_path / "gone")


@pytest.mark.data
def test_every_photograph_of_the_data_folder_is_decoded() -> None:
    root = os.environ.get("MOASE_EDGE_DATA")
    if root is None:
        pytest.skip("MOASE_EDGE_DATA is not set")
    paths = pictures_in(Path(root) / "photos")
    source = ImagesSource(paths[:20], name="photos")
    assert len(list(source.frames())) == min(len(paths), 20)
    assert source.counts.skipped == 0
