"""Reconciling subscriptions at Linq's APIs."""
