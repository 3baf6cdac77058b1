"""What speaks Linq: signatures, envelopes, line extraction, target URLs and the API client."""
