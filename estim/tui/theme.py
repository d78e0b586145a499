"""Colours that every application of Estim uses."""

from __future__ import annotations

from textual.theme import Theme

THEME = Theme(
    name="estim",
    primary="#7fb7c9",
    secondary="#8aa0b5",
    accent="#d9b36c",
    success="#8fbf8f",
    warning="#e0b050",
    error="#e8786c",
    foreground="#d7dde2",
    background="#14191d",
    surface="#1b2227",
    panel="#232c32",
    dark=True,
)
