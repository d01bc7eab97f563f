"""One of each thing that can be added to trajlab from outside, each in at most thirty lines."""
