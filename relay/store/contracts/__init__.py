"""What was learned of event types and payload versions."""
