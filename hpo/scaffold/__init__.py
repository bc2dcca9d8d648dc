"""First files of a study: from nothing, from a script, from a sweep of another tool, or from a built-in study.

Scripts are parsed, never imported and never changed. What is found becomes a `Draft`, which is written as YAML.
"""
