"""Helpers that node families share."""
