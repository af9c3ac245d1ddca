"""A run in the browser: what it shows, how it is asked, and who may ask."""
