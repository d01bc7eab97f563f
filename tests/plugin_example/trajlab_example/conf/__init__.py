"""Configuration of the example: found through hydra.searchpath=[pkg://trajlab_example.conf]."""
