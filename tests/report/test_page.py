from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.page import Picture, Section, write_page
from moase_edge.report.tables import Table

VOID = {"meta", "link", "img"}


class Outline(HTMLParser):
    """Tags with attributes, visible text, and whether every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "plot.png"
    Image.new("RGB", (3, 2), (1, 2, 3)).save(path)
    return path


def page(tmp_path: Path, *sections: Section, title: str = "Run") -> Outline:
    write_page(tmp_path / "report.html", title, sections)
    outline = Outline((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert outline.open == []
    return outline


def test_a_picture_is_embedded_byte_for_byte_with_its_alt_text(tmp_path: Path, png: Path) -> None:
    outline = page(tmp_path, Section("Latency", pictures=[Picture(png, 'the "latency"', "a caption")]))
    (image,) = outline.find("img")
    assert image["alt"] == 'the "latency"'
    head, data = str(image["src"]).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == png.read_bytes()
    assert "a caption" in outline.text


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path, png: Path) -> None:
    outline = page(
        tmp_path, Section("A", ["text"], [Table("T", ("a",), [(1.0,)])], [Picture(png, "alt")], {"b": 1})
    )
    html = (tmp_path / "report.html").read_text()
    links = [str(value) for _, attrs in outline.tags for name, value in attrs.items() if name in {"src", "href"}]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not outline.find("script")
    assert not re.search(r"url\(|@import|https?:", html)


def test_everything_is_escaped(tmp_path: Path, png: Path) -> None:
    bad = "<script>alert('x')</script>&amp;"
    section = Section(
        bad, [bad], [Table(bad, (bad,), [(bad,)], bad)], [Picture(png, bad, bad)], {bad: bad, "n": [bad]}
    )
    outline = page(tmp_path, section, title=bad)
    assert not outline.find("script")
    # title, h1, h2, paragraph, caption, head, cell, note, picture caption, detail name, value and nested value
    assert outline.text.count(bad) == 12
    assert outline.find("img")[0]["alt"] == bad


def test_sections_keep_their_order_and_parts(tmp_path: Path) -> None:
    table = Table("T", ("a",), [(1.5,)])
    outline = page(tmp_path, Section("First", ["one", "two"]), Section("Second", tables=[table]))
    words = ["Run", "First", "one", "two", "Second", "T", "a", "1.50"]
    assert [word for word in outline.text.split() if word in words][1:] == words
    assert not outline.find("details")


def test_details_show_scalars_plainly_and_nested_values_as_json(tmp_path: Path) -> None:
    details = {
        "seed": 12345,
        "rate": 0.001,
        "on": True,
        "state": None,
        "moase": {"experts": 4},
        "path": Path("a/b"),
    }
    outline = page(tmp_path, Section("Settings", details=details))
    for text in ("12345", "0.001", "yes", "–", '"experts": 4', "a/b"):  # noqa: RUF001
        assert text in outline.text
    assert len(outline.find("pre")) == 1


def test_wide_tables_scroll_in_a_box_that_the_keyboard_reaches(tmp_path: Path) -> None:
    outline = page(tmp_path, Section("A", tables=[Table("T", ("a",), [("x",)])]))
    (box,) = outline.find("div")
    assert (box["class"], box["tabindex"], box["aria-label"]) == ("box", "0", "T")
    style = (tmp_path / "report.html").read_text()
    assert ".box { overflow-x: auto" in style
    assert "prefers-color-scheme: dark" in style


def test_a_missing_picture_is_a_storage_error_and_no_page_is_left(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"could not read .*gone\.png"):
        write_page(
            tmp_path / "report.html", "Run", [Section("A", pictures=[Picture(tmp_path / "gone.png", "alt")])]
        )
    assert not (tmp_path / "report.html").exists()


def test_a_picture_without_alt_text_or_of_another_format_is_refused(tmp_path: Path, png: Path) -> None:
    with pytest.raises(ConfigError, match="no alt text"):
        write_page(tmp_path / "report.html", "Run", [Section("A", pictures=[Picture(png, "")])])
    png.write_bytes(b"GIF89a")
    with pytest.raises(ConfigError, match="not a PNG"):
        write_page(tmp_path / "report.html", "Run", [Section("A", pictures=[Picture(png, "alt")])])
