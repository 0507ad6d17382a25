"""Networks: built from lists of stages, or from a user's own class; `checks`, `stages` and `published` load no torch."""
