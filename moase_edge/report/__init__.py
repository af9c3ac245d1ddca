"""Tables, plots, pages and files, from plain data."""
