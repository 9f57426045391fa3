"""Extracts calls and statements from the documentation so that tests can run them."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def block(page, before, language):
    """Returns the first code block in the given language that follows the given words on a page."""
    text = (ROOT / page).read_text()
    if text.count(before) != 1:
        raise ValueError(f"{page} contains {before!r} {text.count(before)} times")
    found = re.search(rf"^```{language}\n(.*?)^```$", text.split(before)[1], re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"{page} has no {language} after {before!r}")
    return found[1]


def of_dataset(text, dataset, table="alb_access_logs", old="alb_access_logs"):
    """Replaces the table `old` in the dataset `lake` with a table in the given dataset."""
    changed = re.sub(r"(?<=['\"])lake/", f"{dataset}/", text).replace(old, table)
    if str(dataset) not in changed:
        raise ValueError(f"lake is not in {text}")
    return changed
