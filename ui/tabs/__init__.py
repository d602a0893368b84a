"""One file a tab: its components, and what happens on its events."""
