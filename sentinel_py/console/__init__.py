"""What whoever is on call asks in the terminal; each command is a module with a ``main``."""
