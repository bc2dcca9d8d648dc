"""Trials brought in from other tools (`hpo import`), and taken out for them and for papers (`hpo export`)."""
