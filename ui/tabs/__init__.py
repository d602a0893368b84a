"""One class and file a tab: its components and the handlers of their events. No tab imports another one."""
