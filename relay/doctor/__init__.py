"""The doctor: looks at everything the relay stands on and says what to do. It changes nothing."""
