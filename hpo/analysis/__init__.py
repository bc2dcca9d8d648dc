"""The read side: what a study's storage and files say, as plain data for reports and commands."""
