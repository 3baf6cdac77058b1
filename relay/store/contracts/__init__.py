"""The contracts: knowledge of event types and payload versions."""
