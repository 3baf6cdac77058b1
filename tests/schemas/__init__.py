"""Tests of the schemas for subscribers, and the public tools that make and validate what is committed of them."""
