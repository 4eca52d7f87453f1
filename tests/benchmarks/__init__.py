"""Figures: `make bench`. Every benchmark compares within one run, because machines differ and drift."""
