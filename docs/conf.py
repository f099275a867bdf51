"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "statusbuilder"
author = "the statusbuilder authors"
release = installed_version("statusbuilder")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
html_theme = "furo"
html_title = f"statusbuilder {release}"
