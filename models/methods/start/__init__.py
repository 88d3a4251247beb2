"""First phases for a magnitude."""
