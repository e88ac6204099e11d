"""Users, passwords and permissions, as redis-sentinel's ACL has them."""
