"""The settings of the documentation site: `sphinx-build -W docs site`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils.nodes import Element, Node
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring

import vpsorg_async
import vpsorg_async.fleet
import vpsorg_async.sandbox
from vpsorg_async import pytest_plugin
from vpsorg_async.sandbox import box, ledger, log, records

project = "vpsorg_async"
author = "the vpsorg_async authors"
release = version = vpsorg_async.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
nitpicky = True
nitpick_ignore_regex = [
    # signatures also contain names that are not public and so not documented: only public names must have a target
    (r"py:.*", r"(?!vpsorg_async\.(errors\.)?[A-Z]).*"),
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# docstrings write names of the package in single backticks
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True}
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"vpsorg_async {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))
html_extra_path = ["llms.txt", "openapi.yaml"]
html_copy_source = True
html_show_sphinx = False
html_show_copyright = False

# these modules import them for type checkers only; without them `Server` would be the client's
vars(box).update(Change=ledger.Change, Entry=log.Entry, Server=records.Server, ServerId=records.ServerId)
vars(pytest_plugin).update(Client=vpsorg_async.Client)

# the documented name of each public object: real name -> documented name
SHOWN = {
    f"{made.__module__}.{made.__qualname__}": f"{home.__name__}.{name}"
    for home in (vpsorg_async.sandbox, vpsorg_async.fleet, vpsorg_async)
    for name, made in ((name, getattr(home, name)) for name in home.__all__)
    if hasattr(made, "__qualname__")
}


def follow(app: Sphinx, env: BuildEnvironment, node: pending_xref, inner: Element) -> Node | None:
    """Resolve links: signatures use an object's real module, docstrings only its last name."""
    if node.get("refdomain") != "py":
        return None
    domain, target = env.domains.python_domain, node["reftarget"]
    shown = SHOWN.get(target)
    if shown is None and "." not in target and target[:1].isupper():
        homes = (node.get("py:module"), "vpsorg_async", "vpsorg_async.errors")
        found = [f"{home}.{target}" for home in homes if f"{home}.{target}" in domain.objects]
        found += [known for known in domain.objects if known.endswith(f".{target}")]
        shown = found[0] if found else None
    if shown is None:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", shown, node, inner)


def sections(app: Sphinx, what: str, name: str, made: Any, options: Any, lines: list[str]) -> None:
    """Convert sections such as ``Args:`` in docstrings."""
    if what != "module":
        config = Config(napoleon_use_param=True, napoleon_use_ivar=True, napoleon_use_rtype=False)
        lines[:] = GoogleDocstring(lines, config, what=what).lines()


def arguments(
    app: Sphinx, what: str, name: str, made: Any, options: Any, given: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Hide the arguments of errors, which users catch but do not create."""
    return ("", None) if what == "exception" and given else None


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", follow)
    app.connect("autodoc-process-docstring", sections)
    app.connect("autodoc-process-signature", arguments)
