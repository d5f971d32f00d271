"""Telling people: which team hears of a failure, through which channels, and once."""
