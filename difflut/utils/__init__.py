"""Modules that are neither nodes nor layers of nodes."""
