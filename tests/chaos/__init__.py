"""Five hosts that are network namespaces, faults at the worst moments, and an account of them."""
