"""Importers of encoder weights: one module a published layout."""
