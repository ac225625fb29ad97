"""The HTML report."""

from excise.report.diagnosis import write_diagnosis
from excise.report.html import write_report

__all__ = ["write_diagnosis", "write_report"]
