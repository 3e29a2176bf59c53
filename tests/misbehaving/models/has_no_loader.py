"""Has neither of the functions that load."""
