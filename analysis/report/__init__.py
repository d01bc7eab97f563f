"""The report: what a section is, which there are, how they are written."""

from trajlab.analysis.report.build import write_report
from trajlab.analysis.report.contents import sections
from trajlab.analysis.report.section import Section

__all__ = ["Section", "sections", "write_report"]
