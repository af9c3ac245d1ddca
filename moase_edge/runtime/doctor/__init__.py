"""What this machine has, what will be used of it, what is missing and the command that adds it."""
