"""How the documents become a site: `sphinx-build -W docs build/docs`."""

from __future__ import annotations

project = "fhir-auth-proxy"
copyright = "the authors of fhir-auth-proxy, MIT licensed"  # noqa: A001  Sphinx's name
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
# Links like `sign-in.md#managed-identity` mean headings by the anchors that GitHub gives them.
myst_heading_anchors = 3
# What the documents link to outside of this folder is offered as a file.
suppress_warnings = ["myst.xref_missing"]
nitpicky = True
html_theme = "furo"
html_title = "fhir-auth-proxy"
html_static_path: list[str] = []
