"""The sections of the report, one a file: ``section(runs) -> Section | None``; `report.contents` lists them."""
