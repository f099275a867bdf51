"""The extensions of the documentation's build."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT

EXTENSIONS = ROOT / "docs" / "_ext"


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_become_a_table(tmp_path: Path) -> None:
    """What the benchmark wrote is a row each; a budget that does not hold stands out."""
    row = {"what": "a | b", "ours": "1 s", "reference": "9 s", "ratio": 9.004, "budget": "≥ 8", "holds": True}
    rows = [row, {**row, "holds": False}, {**row, "ratio": None, "budget": "", "holds": None}]
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"machine": {"python": "3.11.7", "platform": "linux", "cores": 2}, "rows": rows}))
    lines = load("figures").table(path).splitlines()
    assert lines[0] == "Measured with Python 3.11.7 on linux with 2 cores."
    assert lines[4:] == [
        "| a / b | 1 s | 9 s | 9 | ≥ 8 | yes |",
        "| a / b | 1 s | 9 s | 9 | ≥ 8 | **no** |",
        "| a / b | 1 s | 9 s |  |  |  |",
    ]


def test_without_figures_the_page_says_how_to_get_them(tmp_path: Path) -> None:
    """A tree in which nothing was measured can be built."""
    assert "nox -s bench" in load("figures").table(tmp_path / "figures.json")


MARKDOWN = """Do it.

```python
sink = Sink()
```

| variable | says |
|---|---|
| `A` | a |

Args:
    one: `Sink`s, or `None`.
"""
RST = """Do it.


.. code-block:: python

    sink = Sink()



.. list-table::
   :header-rows: 1

   * - variable
     - says
   * - ``A``
     - a


Args:
    one: :py:obj:`~.Sink`\\ s, or ``None``.
"""


def test_docstrings_become_restructured_text() -> None:
    """Fenced code, tables and inline code are what autodoc reads; the rest stays."""
    assert "\n".join(load("docstrings").to_rst(MARKDOWN.split("\n"))) == RST


@pytest.mark.parametrize("text", ["", "plain", "``already``", "a ` alone"])
def test_text_without_markdown_stays(text: str) -> None:
    """What has no inline code is not touched."""
    assert load("docstrings").to_rst([text]) == [text]


def test_a_colon_in_an_attribute_is_no_type(tmp_path: Path) -> None:
    """The docstring of an attribute is its text, also where a colon stands in its first line."""
    pytest.importorskip("sphinx", reason="the session docs has it")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path[:0] = [{str(EXTENSIONS)!r}, {str(tmp_path)!r}]\n"
        'extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings"]\n'
    )
    (tmp_path / "thing.py").write_text('class Thing:\n    size: int = 1\n    """How large: in bytes, as `int`."""\n')
    (tmp_path / "index.rst").write_text(".. autoclass:: thing.Thing\n   :members:\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "text", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "index.txt").read_text()
    assert 'How large: in bytes, as "int".' in page
    assert "Type:" not in page
