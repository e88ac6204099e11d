"""The engine of Raft, streams between sentinels, and the way into a cluster."""
