"""Families of devices, and what a graph costs on each by our own estimate."""
