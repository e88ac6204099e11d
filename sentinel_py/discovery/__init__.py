"""For applications that cannot speak Sentinel: something else leads them to the master.

`follower` learns from any sentinels who the master is, `belief` decides whose answer counts. What
is found goes to our own TCP `proxy` (`relay` has its connections), or by `steering` to a program
that others run: `haproxy`, `twemproxy`, `consul`. `command` has what their command lines share. The
rule guarded: these are programs of their own and clients of the sentinels like any other, so
nothing that hangs here can delay a failover.
"""
