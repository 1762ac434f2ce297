"""The demo as a picture: an SVG of a dark terminal, the same on light and dark pages. It loads no other file."""

from __future__ import annotations

import io
import re

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from .display import BLOCKS, WIDTH

__all__ = ["draw"]

THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (248, 81, 73),
        (46, 160, 67),
        (210, 153, 34),
        (56, 139, 253),
        (163, 113, 247),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>vpsorg demo: servers by status over time, and the requests that it took</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px FONT; }}
.{unique_id}-title {{ font: 600 16px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONT", FONT)

# rich draws a line of text with its baseline BASELINE below its top, and the next line LINE below it
BASELINE, LINE = 18.5, 24.65

_BLOCKS = re.compile(
    r'<text class="(?P<style>[^"]+)" x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)"[^>]*>'
    rf"(?P<blocks>[{BLOCKS[1:]}]+)</text>"
)


def draw(command: str, *shown: RenderableType) -> str:
    """Return an SVG of a terminal with the command and its output."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH + 2,
        color_system="truecolor",
        force_terminal=True,
        no_color=False,
        legacy_windows=False,
    )
    lines = [Text.assemble(("$ ", "dim"), (command, "bold")), *shown]
    console.print(Padding(Group(*lines), (0, 1, 1, 1)), highlight=False)
    svg = console.export_svg(title="", theme=THEME, code_format=FORMAT, unique_id="vpsorg")
    return "\n".join(line.rstrip() for line in _BLOCKS.sub(_rectangles, svg).splitlines()) + "\n"


def _rectangles(text: re.Match[str]) -> str:
    """Replace block characters by rectangles, because fonts draw them with gaps, or not at all."""
    blocks = text["blocks"]
    width = float(text["length"]) / len(blocks)
    bottom = float(text["y"]) - BASELINE + LINE
    made: list[str] = []
    for number, block in enumerate(blocks):
        height = LINE * BLOCKS.index(block) / 8
        made.append(
            f'<rect class="{text["style"]}" x="{float(text["x"]) + number * width:g}" y="{bottom - height:g}" '
            f'width="{width:g}" height="{height:g}" shape-rendering="crispEdges"/>'
        )
    return "".join(made)
