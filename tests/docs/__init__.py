"""Tests of README.md and deploy/docs, and the script that records the demo."""
