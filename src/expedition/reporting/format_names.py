"""Names of the formats of reports. Every pytest session loads this: it imports nothing."""

FORMATS = ("table", "json", "csv", "markdown", "latex")
"""Those of tables."""

PAGE_FORMATS = ("table", "json", "markdown")
"""Those of pages, which are more than one table."""
