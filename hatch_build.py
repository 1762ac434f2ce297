"""What a package index shows of the project: the README with links that work there, and where the project is.

The release workflow passes the address of the repository as ``VPSORG_ASYNC_URL``. Every other build leaves the links
relative, and names no repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

API = "https://www.vps.org/api/v1/docs/servers/"


def with_absolute_links(readme: str, url: str, ref: str) -> str:
    """Return the README with its relative links and pictures at this state of the repository."""
    readme = re.sub(r"(!\[[^\]]*\]\()(?!https?:|#)", rf"\1{url}/raw/{ref}/", readme)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!https?:|#)", rf"\1{url}/blob/{ref}/", readme)


class ProjectMetadata(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        readme = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["urls"] = {"API documentation": API}
        if url := os.environ.get("VPSORG_ASYNC_URL"):
            ref = f"v{metadata['version']}"
            readme = with_absolute_links(readme, url, ref)
            metadata["urls"] |= {
                "Source": url,
                "Documentation": f"{url}/blob/{ref}/docs/index.md",
                "Changelog": f"{url}/blob/{ref}/CHANGELOG.md",
                "Issues": f"{url}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
