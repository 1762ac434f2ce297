"""Each command line of the documentation is one that the command accepts."""

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from vpsorg_async.cli.root_command import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OF_THE_SHELL = {">", "<", "|", "&", "&&", "||", ";", "$@"}


def written(page: Path) -> list[str]:
    """Return the command lines in the blocks of a page that are for a shell, with their continuation lines."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [found[1] for line in lines if (found := re.match(r"\s*(?:\$ |exec )?vpsorg (.*)", line))]


@pytest.mark.parametrize("page", [page for page in PAGES if written(page)], ids=lambda page: page.stem)
def test_the_command_lines_of_a_page(page: Path) -> None:
    """Commands, options and values exist; nothing is sent."""
    for line in written(page):
        words = takewhile(lambda word: word not in OF_THE_SHELL, shlex.split(line, comments=True))

        app.parse_args([*words], print_error=False, exit_on_error=False)
