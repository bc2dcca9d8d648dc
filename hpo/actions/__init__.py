"""Actions of commands that need more than one package: what is computed or written, without options and printing."""
