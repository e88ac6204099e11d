"""The explorer: all orders of events in small worlds, with the real core."""
