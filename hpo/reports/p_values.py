"""Text of a p-value, the same in tables, sentences and figures."""

from __future__ import annotations


def p_text(p: float) -> str:
    """Return p with three decimals; no p is written as 0."""
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def p_relation(p: float) -> str:
    """Return what follows the letter p in a sentence: `= 0.012`, `< 0.001`."""
    return p_text(p) if p < 0.0005 else f"= {p_text(p)}"
