"""Bootstrap: keep our subscriptions at Linq in the desired state."""
