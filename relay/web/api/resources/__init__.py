"""The resources of the API: operations that turn models into calls of services, and what these return into models."""
