"""The rules, pure: standard library only; no await, clock, random or I/O. Time and ids come in as arguments."""
