"""ipfoctl, the command of the administrator. Speaks D-Bus only."""
