"""What may be asked: the configuration's schema, its parsing, and the building of what it names."""
