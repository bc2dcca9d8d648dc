"""The Oracle, which decides what is tried next, what goes on and what is tried again, and what it consists of."""
