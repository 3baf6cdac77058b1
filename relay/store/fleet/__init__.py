"""The processes of the relay, as they report themselves, and the operators' orders to drain them."""
