"""One run on disk: the layout of its folder, its tables, its manifest and its identity."""
