from __future__ import annotations

import json
from pathlib import Path

import pytest

from moase_edge.errors import ConfigError
from moase_edge.models.labels import read_labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "cat\ndog\nsnow leopard\n"),
        ("a.txt", "\ufeffcat\r\n dog \r\n\r\nsnow leopard"),
        ("a.names", "cat\ndog\nsnow leopard"),
        ("a.json", '["cat", "dog", "snow leopard"]'),
        ("a.JSON", '\ufeff["cat", "dog", "snow leopard"]'),
        ("a.json", '{"2": "snow leopard", "0": "cat", "1": "dog"}'),
        ("a.json", '{"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "snow leopard"]}'),
        ("a.json", '[["n1", "cat"], ["n2", "dog"], ["n3", "snow leopard"]]'),
    ],
)
def test_usual_forms_are_read_in_the_order_of_the_classes(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_labels(tmp_path / name, 3) == ("cat", "dog", "snow leopard")


def test_numbers_are_names_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[0, 1]")
    assert read_labels(tmp_path / "a.json", 2) == ("0", "1")


@pytest.mark.parametrize("classes", [2, 4])
def test_another_number_of_names_is_refused_with_both_numbers(tmp_path: Path, classes: int) -> None:
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    with pytest.raises(ConfigError, match=f"names 3 classes, the model has {classes}"):
        read_labels(tmp_path / "a.txt", classes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"3",
        b"\xff\xff",
        b"[[]]",
        b"[null]",
        b'[{"name": "cat"}]',
        b'{"one": "cat"}',
        b'{"1": "cat"}',
        b"[" * 100_000,
        json.dumps("cat").encode(),
    ],
)
def test_json_that_names_no_classes_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read labels from .*Expected a line per class"):
        read_labels(tmp_path / "a.json", 1)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_labels(tmp_path / "absent.txt", 1)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('{"cat": 0, "dog": 1}', "its keys are 'cat', 'dog', not"),
        ('{"1": "cat", "2": "dog"}', "its keys are '1', '2', not"),
        ('{"a": 1, "b": 2, "c": 3, "d": 4}', "its keys are 'a', 'b', 'c', ..., not"),
    ],
)
def test_keys_that_are_no_class_indices_are_shown_with_what_is_expected(
    text: str, keys: str, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(text)
    last = text.count(":") - 1
    with pytest.raises(ConfigError) as caught:
        read_labels(tmp_path / "a.json", 2)
    assert f'{keys} the class indices "0" to "{last}"' in str(caught.value)


def test_imagenet_names_its_1000_classes_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = read_labels(Path("imagenet"), 1000)
    assert (names[0], names[817]) == ("tench, Tinca tinca", "sports car, sport car")
    assert len(names) == 1000
    with pytest.raises(ConfigError, match="names 1000 classes, the model has 10"):
        read_labels(Path("imagenet"), 10)


def test_a_file_called_imagenet_goes_before_the_names_of_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("imagenet").write_text("cat\ndog\n")
    assert read_labels(Path("imagenet"), 2) == ("cat", "dog")
