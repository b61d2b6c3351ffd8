"""`make bench-control-plane`: from `kubectl apply` to the last of many routers, in a cluster full of objects."""
