"""The pages of the documentation hang together, as far as that can be seen without building them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES}


def test_every_page_is_in_the_table_of_contents() -> None:
    """A page that no table of contents names can't be found by readers."""
    trees = re.findall(
        r"```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)```", (DOCS / "index.md").read_text("utf-8"), re.S
    )
    listed = [line for tree in trees for line in tree.split()]

    assert sorted(listed) == sorted(NAMES - {"index"})


def test_the_start_page_links_every_page() -> None:
    """Readers of the start page, also of its source, find each page under its heading."""
    linked = re.findall(r"\]\(([^)#]+)\.md\)", (DOCS / "index.md").read_text("utf-8"))

    assert sorted(linked) == sorted(NAMES - {"index"})


def test_every_how_to_has_a_question_for_the_search() -> None:
    """`docs/questions.py` asks the built site what people would type to find a page, and each how-to has such words."""
    asked = runpy.run_path(str(DOCS / "questions.py"))["QUESTIONS"]

    assert {name for name in NAMES if name.startswith("howto/")} <= set(asked.values()) <= NAMES


def test_every_page_is_in_llms_txt() -> None:
    """The list for machines names every page, and nothing that is not there."""
    linked = re.findall(r"\]\(([^)]+)\)", (DOCS / "llms.txt").read_text("utf-8"))
    pages = {link.removesuffix(".html") for link in linked if link.endswith(".html")}

    assert pages == NAMES - {"index"}
    assert all((DOCS / link).is_file() for link in linked if not link.endswith(".html"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    """What a page links to inside the documentation is there, and each picture has words for those who can't see it."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    for sign, words, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", text):
        if not re.match(r"https?:|#", target):
            assert (page.parent / target.partition("#")[0]).is_file(), target
        assert words or not sign


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_pictures_load_nothing(picture: Path) -> None:
    """A picture needs nothing from elsewhere."""
    text = picture.read_text("utf-8")
    assert not re.search(r"(?:href|src)=[\"'](?!#)|url\((?!#)|@import", text)
