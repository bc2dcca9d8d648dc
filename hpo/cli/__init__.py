"""Commands of `hpo`: each file reads its arguments, calls what does the work, and prints the result."""
