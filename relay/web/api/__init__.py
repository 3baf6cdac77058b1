"""The API `/api/v1`, by which teams and operators do what the command line does.

An operation is a handler and a record (`operation`). Its route (`app`) and its part of the OpenAPI document (`openapi`)
are both made from that record and from the signature of the handler, so they cannot differ. The way of a request:

    head -> token (`authentication`) -> rate (`rates`) -> scope -> body, path and query into models (`inputs`)
         -> Idempotency-Key (`idempotency`) -> handler, which calls a service -> model into JSON (`app`)

What is refused on the way, and every error of a service, is answered as problem details (`problems`).
"""
