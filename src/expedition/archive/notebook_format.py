"""Notebooks as files: their cells, in version 4.5 of the format of Jupyter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def code_cell(source: str) -> dict[str, Any]:
    """Return a cell with Python code that was not run yet."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def text_cell(source: str) -> dict[str, Any]:
    """Return a cell with text in Markdown."""
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def notebook_text(cells: Iterable[dict[str, Any]]) -> str:
    """Return the content of the file of a Python notebook with these cells."""
    content = {
        "cells": [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
