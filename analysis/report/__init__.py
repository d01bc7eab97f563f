"""The report: sections, templates, rendering."""

from trajlab.analysis.report.build import Section, sections, write_report

__all__ = ["Section", "sections", "write_report"]
