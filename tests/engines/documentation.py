"""The calls and statements that the documentation gives, so that tests run what people read."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def block(page, before, language):
    """The first block of code in a language behind some words of a page."""
    text = (ROOT / page).read_text()
    if text.count(before) != 1:
        raise ValueError(f"{page} has {text.count(before)} places with {before!r}")
    found = re.search(rf"^```{language}\n(.*?)^```$", text.split(before)[1], re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"{page} has no {language} behind {before!r}")
    return found[1]


def of_dataset(text, dataset, table="alb_access_logs"):
    """A text about the table of requests in `lake`, made one about a table of a dataset."""
    changed = re.sub(r"(?<=['\"])lake/", f"{dataset}/", text).replace("alb_access_logs", table)
    if str(dataset) not in changed:
        raise ValueError(f"there is nothing of lake in {text}")
    return changed
