"""The page `/api/v1/docs`: the OpenAPI document for people."""
