"""Sections of the reports: each makes plain blocks (see `hpo.reports.blocks`) from what an analysis found."""
