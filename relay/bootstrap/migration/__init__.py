"""The move from Linq's v2 API to v3: both on, compare what arrived over each, v2 off."""
