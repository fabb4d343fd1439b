"""Pseudo masks from two classifiers that agree (Park and Shim, "Precision matters", 2024)."""
