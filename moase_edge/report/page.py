"""A report as one HTML file that needs nothing else: no network, no script, no second file."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from moase_edge.errors import ConfigError
from moase_edge.report.files import storage_error, write_text_atomic
from moase_edge.report.plain import plain_json
from moase_edge.report.tables import MISSING, Table, format_cell, to_html

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #d1d9e0;
  --shade: #f6f8fa; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117; --line: #3d444d;
    --shade: #151b23; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1.5rem; padding-bottom: .6rem;
  border-bottom: 3px solid var(--accent); }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { margin: .5rem 0; max-width: 46rem; }
.box { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2rem 0 .4rem; white-space: nowrap; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { background: var(--shade); }
.number { text-align: right; }
.note, figcaption { color: var(--soft); font-size: .85rem; }
figure { margin: 1rem 0; }
figure .box { margin: 0 0 .3rem; }
img { display: block; width: 100%; min-width: 45rem; height: auto; border-radius: 6px; background: #fff; }
details { margin: 1rem 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .3rem 1.2rem; font-size: .9rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
pre { margin: 0; overflow-x: auto; font-size: .85rem; }
@media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .6rem; } }
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file that a page takes in.

    Attributes:
        path: the PNG.
        alt: what it shows, for those who cannot see it; not empty.
        caption: one line below it.
    """

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page, shown in the order of the fields.

    Attributes:
        heading: plain text, as all text here.
        paragraphs: one string each.
        tables: each scrolls in its own box where it is wider than the page.
        pictures: likewise.
        details: settings, versions and the like by name, folded away; a nested value shows as JSON.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    details: Mapping[str, object] = field(default_factory=dict)


def write_page(path: str | os.PathLike[str], title: str, sections: Sequence[Section]) -> None:
    """Write one self-contained HTML file, light or dark as the reader's system is set. All text is escaped.

    Raises:
        ConfigError: a picture is no PNG or has no alt text, or a detail cannot be shown as JSON.
        StorageError: a picture cannot be read or the page not written.
    """
    body = "\n".join(_section(section) for section in sections)
    write_text_atomic(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{body}
</body>
</html>
""",
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.heading)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
    parts += [_scrolling(to_html(table), table.title) for table in section.tables]
    parts += [_figure(picture) for picture in section.pictures]
    if section.details:
        parts.append(_details(section.details))
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _scrolling(inner: str, name: str) -> str:
    """A box that scrolls sideways, by keyboard too, so that the page itself never does."""
    return f'<div class="box" role="region" tabindex="0" aria-label="{escape(name)}">\n{inner}\n</div>'


def _figure(picture: Picture) -> str:
    if not picture.alt:
        raise ConfigError(f"picture {picture.path} has no alt text; say in a sentence what it shows")
    data = base64.b64encode(_read_png(picture.path)).decode("ascii")
    image = f'<img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}">'
    caption = f"\n<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return f"<figure>\n{_scrolling(image, picture.alt)}{caption}\n</figure>"


def _read_png(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise storage_error("read", path, exc) from exc
    if not data.startswith(_PNG_SIGNATURE):
        raise ConfigError(f"{path} is not a PNG file; a page takes in PNG pictures only")
    return data


def _details(details: Mapping[str, object]) -> str:
    rows = "\n".join(f"<dt>{escape(str(name))}</dt><dd>{_detail(value)}</dd>" for name, value in details.items())
    return f"<details>\n<summary>Details</summary>\n<dl>\n{rows}\n</dl>\n</details>"


def _detail(value: object) -> str:
    plain = plain_json(value)
    if plain is None:
        return MISSING
    if isinstance(plain, (dict, list)):
        return f"<pre>{escape(json.dumps(plain, indent=2, ensure_ascii=False))}</pre>"
    if isinstance(plain, bool):
        return format_cell(plain)
    return f"{plain:.6g}" if isinstance(plain, float) else escape(str(plain))
