"""The sections of the report, one a file; found by being here."""
