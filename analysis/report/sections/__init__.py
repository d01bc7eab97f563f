"""The sections of the report, one per file: ``section(runs) -> Section | None``; `report.contents` lists them."""
