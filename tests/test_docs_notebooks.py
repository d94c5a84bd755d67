"""The notebooks run from top to bottom, and the one that trains nothing prints what is stored in it."""

import copy
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "notebooks"
PATIENCE_S = 360


def printed(book: nbformat.NotebookNode) -> list[str]:
    """What the cells of a notebook say in text, figures apart."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    said = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return [text for text in said if "<Figure" not in text]


@pytest.mark.parametrize("name", ["one-transfer", "train-and-compare"])
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    stored = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    book = copy.deepcopy(stored)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(book, timeout=PATIENCE_S, startup_timeout=PATIENCE_S, resources=resources)
    client.execute()
    assert all(cell.execution_count for cell in stored.cells if cell.cell_type == "code"), (
        "stored without outputs"
    )
    if name == "one-transfer":  # a training is the same to the bit on one kind of machine only
        assert printed(book) == printed(stored)
