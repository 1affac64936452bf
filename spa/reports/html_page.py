"""The frame of every HTML page: one file that styles itself and can do nothing else."""

from __future__ import annotations

from spa.reports.markup import Markup, element

# Whatever a model's names contain: no scripts, nothing fetched.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, style: str, body: Markup) -> str:
    """Write a whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", title),
        element("style", Markup(style)),
    )
    html = element("html", head, element("body", body), lang="en")
    return f"<!doctype html>\n{html}\n"
