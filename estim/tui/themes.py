"""Themes: dark, high-contrast for glare, colour-blind-safe.

None carries a meaning by colour alone: each colour stands beside a word or a sign.
"""

from __future__ import annotations

from textual.theme import Theme

DEFAULT = "dark"

_DARK = Theme(
    name="estim-dark",
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

# Black on white: in glare a bright ground is read where a dark one mirrors the window.
_HIGH_CONTRAST = Theme(
    name="estim-high-contrast",
    primary="#003a8c",
    secondary="#333333",
    accent="#5c3700",
    success="#004d00",
    warning="#6b3a00",
    error="#8f0000",
    foreground="#000000",
    background="#ffffff",
    surface="#f0f0f0",
    panel="#e2e2e2",
    dark=False,
)

# The colours of Okabe and Ito (2008), chosen so that every kind of colour vision tells them apart.
_COLOUR_BLIND = Theme(
    name="estim-colour-blind",
    primary="#56b4e9",
    secondary="#9fb3c0",
    accent="#f0e442",
    success="#56b4e9",
    warning="#e69f00",
    error="#ff8c42",
    foreground="#e6e6e6",
    background="#101418",
    surface="#181e24",
    panel="#222a31",
    dark=True,
)

THEMES: dict[str, Theme] = {
    DEFAULT: _DARK,
    "high-contrast": _HIGH_CONTRAST,
    "colour-blind-safe": _COLOUR_BLIND,
}
"""Themes by the name that configuration and palette use."""


def chosen(name: str) -> Theme:
    """Return a theme by its name; the default for a name that none has."""
    return THEMES.get(name, THEMES[DEFAULT])
