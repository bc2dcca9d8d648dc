"""The diagnosis of one training: its log, its curves, the verdict, and what to do about it."""
