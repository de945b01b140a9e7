"""Alert rules, configuration and a dashboard for the metrics of a guard, as files for Prometheus and its companions.

They name metrics, and know nothing of how these come about. Invariant: no rule, query or variable has a label whose
values a sender chooses, except the annotation of an alert and one bounded table.
"""

from __future__ import annotations

import json
from importlib import resources

from throttle.monitoring.dashboard import dashboard

FILES = {
    "rules": "rules.yml",
    "alertmanager": "alertmanager.yml",
    "scrape-config": "scrape.yml",
}
"""The files by the word that prints them."""


def text(name: str, pages: str = "") -> str:
    """Returns the file of a name in `FILES`, or the dashboard. The links to runbooks begin with the URL `pages`."""
    if name == "dashboard":
        return json.dumps(dashboard(), indent=2) + "\n"
    file = (resources.files(__name__) / FILES[name]).read_text(encoding="utf-8")
    return file.replace("runbook: alerts.html", f"runbook: {pages.rstrip('/')}/alerts.html") if pages else file
