"""The attempts of deliveries."""
