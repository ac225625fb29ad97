"""The HTML report."""

from excise.report.html import write_report

__all__ = ["write_report"]
