"""Reading the inbox, and handing its events over."""
