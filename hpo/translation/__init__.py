"""Translation of the texts of reports: the catalogue of each language, and the functions that look a text up in it."""
