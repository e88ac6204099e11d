"""HTTP: metrics, health for load balancers, REST, a stream of events, and the dashboard.

Loaded only with `sentinel http-port`. The rule it guards: a page reads the state or gives an order
as a client's command does, and the sentinel waits for none of its readers.
"""
