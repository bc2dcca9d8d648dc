"""Find, check and import the function or the program that trains one configuration."""
