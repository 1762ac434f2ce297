"""Draws the pictures of the documentation: `python docs/pictures.py` writes docs/img/*.svg.

Each has a ground of its own, so that it can be read on light and dark pages alike, and follows the reader's setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.durations import Durations
from vpsorg_async.lifecycle.schedule import Schedule

HERE = Path(__file__).parent / "img"

STYLE = """\
<style>
svg { --ground: #f6f8fa; --ink: #1f2328; --soft: #59636e; --line: #9aa4af; --box: #ffffff; --good: #1a7f37;
  --bad: #cf222e; --open: #9a6700; --main: #0969da; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #0d1117; --ink: #e6edf3; --soft: #9da7b1; --line: #57606a; --box: #161b22; --good: #3fb950;
    --bad: #f85149; --open: #d29922; --main: #58a6ff; }
}
text { font: 14px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: var(--ink); }
.soft { fill: var(--soft); font-size: 12.5px; }
.mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 13px; }
.head { font-weight: 600; }
.box { fill: var(--box); stroke: var(--line); stroke-width: 1.2; }
.good { stroke: var(--good); } .bad { stroke: var(--bad); }
.open { stroke: var(--open); } .main { stroke: var(--main); }
.arrow { fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#tip); }
.axis { stroke: var(--line); stroke-width: 1.2; fill: none; }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 8 4 0 8z" style="fill: var(--line)"/></marker></defs>
"""


def picture(width: int, height: int, title: str, *parts: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n{STYLE}"
        f'<rect width="{width}" height="{height}" rx="8" style="fill: var(--ground)"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, *lines: tuple[str, str]) -> str:
    """A box with lines of text in its middle, each with its kind."""
    first = y + height / 2 - (len(lines) - 1) * 9 + 5
    return "\n".join(
        [
            f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>',
            *(
                text(x + width / 2, first + 18 * n, words, style, "middle")
                for n, (words, style) in enumerate(lines)
            ),
        ]
    )


def arrow(*points: tuple[float, float]) -> str:
    return '<path class="arrow" d="M' + " L".join(f"{x:g} {y:g}" for x, y in points) + '"/>'


def outcomes() -> str:
    """What is known of a request, from left to right."""
    rows = [
        (20, "no header was written", "Sent.NO", "good", "sent again, always"),
        (92, "a 4xx answer refused it", "Sent.REJECTED", "bad", "an error; after 429, sent again"),
        (164, "timeout, reset, 5xx, bad answer", "Sent.MAYBE", "open", "read, PUT, DELETE: sent again"),
    ]
    parts = [box(20, 82, 120, 68, "main", ("a request", "head"), ("did not succeed", "soft"))]
    for y, why, known, kind, then in rows:
        parts += [
            arrow((140, 116), (166, 116), (166, y + 26), (190, y + 26)),
            box(192, y, 220, 52, "", (why, "")),
            arrow((412, y + 26), (440, y + 26)),
            box(442, y, 138, 52, kind, (known, "mono head")),
            arrow((580, y + 26), (608, y + 26)),
            box(610, y, 250, 52, "", (then, "")),
        ]
    parts += [
        arrow((511, 216), (511, 262), (608, 262)),
        box(
            610,
            236,
            250,
            52,
            "open",
            ("create, reboot: never sent again", ""),
            ("OutcomeUnknownError", "mono"),
        ),
        arrow((735, 288), (735, 316)),
        box(610, 318, 250, 52, "good", ("in a fleet call:", "soft"), ("searched for by its name", "")),
    ]
    return picture(880, 390, "What is known of a request that did not succeed, and what follows", *parts)


def waits() -> str:
    """What a poll shows, and its effect on the wait."""
    rows = [
        ("a word of the target", "good", "reached, with evidence"),
        ("provisioning, starting, stopping, rebooting", "", "goes on"),
        ("an unknown word", "", "goes on, and names it"),
        ("no answer", "", "goes on, and counts it"),
        ("settled elsewhere, and stays there", "bad", "UnexpectedStatusError"),
        ("404 by id, seen before", "bad", "ServerGoneError"),
        ("401 or 403", "bad", "ends at once"),
        ("the time is up, after one last poll", "bad", "WaitTimeoutError"),
    ]
    parts = [
        box(20, 30, 150, 66, "main", ("a command", "head"), ("is acknowledged", "soft")),
        arrow((95, 96), (95, 150)),
        box(20, 152, 150, 66, "", ("a poll", "head"), ("shared by all waits", "soft")),
        text(95, 248, "counts only if it left", "soft", "middle"),
        text(95, 265, "after the command", "soft", "middle"),
    ]
    for number, (shown, kind, does) in enumerate(rows):
        y = 20 + number * 46
        parts += [
            arrow((170, 185), (196, 185), (196, y + 19), (220, y + 19)),
            box(222, y, 330, 38, kind, (shown, "")),
            arrow((552, y + 19), (590, y + 19)),
            box(592, y, 268, 38, kind, (does, "mono" if does.endswith("Error") else "")),
        ]
    return picture(880, 400, "What a poll shows, and its effect on a wait", *parts)


def reconcile() -> str:
    """The outcome of a create."""
    sent = [
        (20, "good", "the answer came", "ANSWERED", "waited for"),
        (84, "bad", "4xx, or not sent", "REFUSED", "failed; nothing exists"),
        (148, "open", "the answer was lost", "MAYBE", "searched for by its name"),
    ]
    found = [
        (222, "good", "one, and it is new", "ADOPTED", "adopted, and waited for"),
        (286, "bad", "more than one", "SEVERAL", "failed; all named, none deleted"),
        (350, "open", "none within settle", "UNKNOWN", "failed; OutcomeUnknownError"),
    ]
    parts = [box(20, 74, 110, 66, "main", ("create", "mono head"), ("sent once", "soft"))]
    for rows, begin, left in ((sent, (130, 107), 152), (found, (200, 194), 200)):
        for y, kind, why, state, then in rows:
            parts += [
                arrow(begin, (left, begin[1]), (left, y + 23), (left + 22, y + 23)),
                box(left + 24, y, 180, 46, "", (why, "")),
                arrow((left + 204, y + 23), (428, y + 23)),
                box(430, y, 142, 46, kind, (state, "mono head")),
                arrow((572, y + 23), (596, y + 23)),
                box(598, y, 262, 46, "", (then, "")),
            ]
    return picture(880, 416, "The outcome of a create", *parts)


KIND = ("create", "1", "us-west")
LONGEST = 360.0


def polls(durations: Durations) -> Iterator[float]:
    """When one create is polled if it never completes, by the package's own schedule."""
    schedule = Schedule(WaitPolicy(), durations)
    schedule.add(KIND, 0.0)
    now = WaitPolicy().min_interval
    while now < LONGEST:
        yield now
        now += schedule.pause(now)


def learned() -> Durations:
    """After a hundred creates that took about 170 seconds."""
    # quantiles of a bell curve, without chance: the picture is the same each time
    seen = [170 + 12 * 1.7 * math.asin(2 * (n + 0.5) / 100 - 1) for n in range(100)]
    return Durations.from_json([[*KIND, seen]])


def schedule() -> str:
    """The polls of one create over its age."""
    left, right = 30.0, 850.0

    def at(seconds: float) -> float:
        return left + (right - left) * seconds / LONGEST

    parts: list[str] = []
    for y, title, durations, low, high in (
        (40, "the first time: the page says 2 to 5 minutes", Durations(), 120.0, 300.0),
        (160, "after a hundred servers that took about 170 seconds", learned(), 140.0, 200.0),
    ):
        parts += [
            text(left, y - 10, title, "head"),
            f'<rect x="{at(low):g}" y="{y}" width="{at(high) - at(low):g}" height="48" '
            'style="fill: var(--main); opacity: 0.14"/>',
            *(
                f'<path class="main" d="M{at(seconds):.1f} {y + 8}v32" style="stroke-width: 1.2; opacity: 0.85"/>'
                for seconds in polls(durations)
            ),
            f'<path class="axis" d="M{left} {y + 48}H{right}"/>',
        ]
    parts += [
        text(at(minute * 60), 226, f"{minute} min", "soft", "middle" if minute else "start")
        for minute in range(int(LONGEST) // 60)
    ]
    parts += [
        text(right, 226, "age of the create", "soft", "end"),
        text(right, 30, "each line is a poll", "soft", "end"),
    ]
    return picture(880, 244, "When one create is polled, over its age", *parts)


PICTURES: dict[str, Callable[[], str]] = {
    "outcomes": outcomes,
    "waits": waits,
    "reconcile": reconcile,
    "schedule": schedule,
}

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (HERE / f"{name}.svg").write_text(draw(), "utf-8")
